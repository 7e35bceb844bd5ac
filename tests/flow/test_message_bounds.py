"""What a receiver that fails may cost: memory is bounded, nothing is lost, no run is delayed."""

import asyncio

import pytest

from git_events_runner.flow.notifications import lane as lanes
from git_events_runner.flow.notifications.lane import PENDING_MAX, Lane
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.request import Retry
from tests.flow.test_cancellations import Installation, beside
from tests.flow.test_notifications import STATUS, World
from tests.flow.virtual import VirtualLoop, at, until, virtual
from tests.rules.notifications.samples import run


def test_what_waits_for_a_receiver_is_bounded():
    """The oldest is dropped; another state of a run takes no more room."""
    lane = Lane(ref=Ref("Notifier", "n", "one"), uid="u")
    kept = [lane.put(run(job_uid=str(number)), float(number)) for number in range(PENDING_MAX + 500)]
    assert (kept.count(True), len(lane.pending)) == (PENDING_MAX, PENDING_MAX)
    assert lane.put(run("Failed", job_uid="700"), 0.0)
    assert len(lane.pending) == PENDING_MAX
    assert lane.oldest == 500.0


@virtual
async def test_what_had_no_room_is_sent_later():
    """It follows from the Jobs."""
    world = World()
    world.notifier()
    world.receiver.script = [Retry(message="HTTP status 503")] * 5
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lanes, "PENDING_MAX", 3)
        async with world.leading():
            jobs = [world.cluster.job(world.trigger, n, commit=f"{n:040x}", age_s=n) for n in range(1, 9)]
            for job in jobs:
                world.finish(job)
            await until(lambda: len(world.receiver.states) == 8, within_s=900)
            await asyncio.sleep(300)
    assert world.receiver.states == ["Succeeded"] * 8


@pytest.mark.parametrize("policy", ["Queue", "QueueLatest", "Replace"])
def test_a_receiver_that_hangs_delays_no_run(policy):
    """Jobs start and end at the times that they have without a Notifier."""

    async def ends(notifiers, *, hangs):
        installation = Installation(policy, notifiers=notifiers)
        installation.receiver.hangs = {"status"} if hangs else set()
        found = {}

        def note():
            for number in installation.jobs:
                job = installation.cluster.objects.get(installation.ref(number))
                ended = job is None or bool((job.get("status") or {}).get("conditions"))
                if ended:
                    found.setdefault(number, at())
            return len(found) == len(installation.jobs)

        async with beside(installation.end_runs()), installation.leader():
            await until(note, within_s=300)
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        without = runner.run(ends((), hangs=False))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        hanging = runner.run(ends((STATUS,), hangs=True))
    assert {number: pytest.approx(seconds, abs=0.2) for number, seconds in without.items()} == hanging
