"""No loop over all triggers holds the event loop: at thousands of them every step is short."""

import asyncio
import contextlib
import time
from datetime import timedelta

import pytest

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.policy import Policy
from tests.flow.estate import NAMESPACES, PAGE, Estate
from tests.flow.steps import MeasuredLoop

SCHEDULES, WEBHOOKS = 2400, 600
LONGEST_S = 0.04  # of CPU; a slice is a quarter of it, and a loop that holds on takes twice as much
ACTION = Ref("ClusterAction", None, "build")
NAMESPACE = Ref("Namespace", None, "team0")
OTHERS = [f"team{number}" for number in range(1, NAMESPACES)]
RECONCILED = "reconcile_count_total{"
TRIGGERS = ("ScheduleTrigger", "WebhookTrigger")
EVENTS = (
    "first list",
    "take-over",
    "label of a shared action",
    "edit of a shared action",
    "second edit of a shared action",
    "label of a namespace",
    "policy",
    "relist",
    "burst",
    "clock ahead",
    "clock set back",
    "deletion of all",
)


class Story:
    """What happens to one estate: of each event the longest steps, and what has come of it."""

    def __init__(self):
        self.estate = Estate(schedules=SCHEDULES, webhooks=WEBHOOKS)
        self.estate.cluster.policy = Policy(minimum_interval_s=60)
        self.longest, self.seen = {}, {}

    async def run(self):
        async with contextlib.AsyncExitStack() as stack:
            with asyncio.get_running_loop().measuring() as longest:
                await stack.enter_async_context(self.estate.replica())
            self.longest["first list"] = longest
            async with self.estate.leader():
                await self._happen()

    async def _happen(self):
        estate = self.estate
        await self._measure("take-over", lambda: None)
        await self._measure("label of a shared action", lambda: estate.relabel(ACTION))
        await self._measure("edit of a shared action", lambda: self._allow({"names": OTHERS}))
        await self._measure("second edit of a shared action", lambda: self._allow(None))
        await self._measure("label of a namespace", lambda: estate.relabel(NAMESPACE))
        await self._measure("policy", self._forbid_an_hour)
        await self._measure("relist", lambda: estate.feed.compact(*TRIGGERS, "GitRepo"))
        await self._measure("burst", lambda: [estate.relabel(ref) for ref in estate.refs(*TRIGGERS)])
        await self._measure("clock ahead", lambda: self._set_clock(hours=30))
        await self._measure("clock set back", lambda: self._set_clock(hours=0))
        await self._measure("deletion of all", lambda: estate.delete(*estate.refs(*TRIGGERS)))

    async def _measure(self, event, act):
        estate, lists, checks = self.estate, self.estate.feed.lists, len(self.estate.told.checked)
        reconciled = estate.cluster.series(RECONCILED)
        with asyncio.get_running_loop().measuring() as longest:
            act()
            await estate.settle()
        self.longest[event] = longest
        self.seen[event] = {
            "refused": sum(
                estate.cluster.objects[ref]["status"]["state"] == "WrongConfig" for ref in estate.refs(*TRIGGERS)
            ),
            "known": sum(len(estate.cluster.store.all(kind)) for kind in TRIGGERS),
            "reconciled": estate.cluster.series(RECONCILED) - reconciled,
            "pages": estate.feed.lists - lists,
            "checks": len(estate.told.checked) - checks,
        }

    def _allow(self, namespaces):
        self.estate.cluster.change(ACTION, spec={"allowedNamespaces": namespaces})
        self.estate.changed(ACTION)

    def _forbid_an_hour(self):
        self.estate.cluster.policy = Policy(minimum_interval_s=2 * 60 * 60)

    def _set_clock(self, *, hours):
        self.estate.cluster.offset = timedelta(hours=hours)


@pytest.fixture(scope="module")
def story():
    """One run of the story for all tests: it takes seconds."""
    told = Story()
    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        runner.run(told.run())
    return told


@pytest.mark.parametrize("event", EVENTS)
def test_every_step_of_the_loop_is_short(story, event):
    """Whatever happens to 3,000 triggers, no task holds the event loop for much longer than a slice."""
    assert {task: used_s for task, used_s in story.longest[event].items() if used_s > LONGEST_S} == {}


def test_what_happens_concerns_all_triggers(story):
    """Each event of the story has its effect on thousands of triggers: short steps are no idle ones."""
    seen, every = story.seen, SCHEDULES + WEBHOOKS
    assert all(seen[event]["known"] == every for event in EVENTS[1:-1])
    assert seen["take-over"]["refused"] == seen["second edit of a shared action"]["refused"] == 0
    assert seen["edit of a shared action"]["refused"] == every // NAMESPACES
    assert seen["policy"]["refused"] > every // NAMESPACES // 2
    for event in ("take-over", "edit of a shared action", "second edit of a shared action", "policy"):
        assert seen[event]["reconciled"] >= SCHEDULES
    assert seen["label of a shared action"]["reconciled"] == 0
    assert seen["relist"]["pages"] >= 2 * every // PAGE
    assert seen["clock ahead"]["checks"] > every // 10
    assert seen["deletion of all"]["known"] == 0


def test_a_step_that_holds_the_loop_is_measured():
    """A loop that does not let others work is found by the name of its task."""

    async def hold():
        end_s = time.thread_time() + 2 * LONGEST_S
        while time.thread_time() < end_s:
            pass

    async def check():
        with asyncio.get_running_loop().measuring() as longest:
            await asyncio.create_task(hold(), name="holds")
        assert longest["holds"] >= 2 * LONGEST_S

    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        runner.run(check())
