"""A Job that does not start gives its slot back, is tried again less and less often, and runs once when it can."""

import asyncio

import pytest

from git_events_runner.errors import ApiUnavailable
from git_events_runner.resources.job import KUEUE_LABEL
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.problems import warnings_of
from tests.flow.test_deletions import leader
from tests.flow.test_queue import leading, queue_of
from tests.flow.virtual import at, until, virtual
from tests.flow.world import START, B, Cluster, recorded

REF = Ref("WebhookTrigger", "n", "hook")
JUST_STARTED = {"startTime": START.isoformat(), "active": 1, "ready": 0}


class Controller:
    """Plays the Job controller: notes starts, ends the pods of suspended Jobs; `broken` Jobs never have a ready pod."""

    def __init__(self, cluster, *, broken):
        self.cluster, self.broken, self.starts = cluster, broken, {}

    async def run(self):
        """Work until cancelled."""
        while True:
            for ref, job in list(self.cluster.objects.items()):
                if ref.kind == "Job":
                    self._sync(ref, job)
            await asyncio.sleep(1)

    def _sync(self, ref, job):
        status, name = job.get("status") or {}, ref.name
        suspended = [c for c in status.get("conditions") or () if c["type"] == "Suspended" and c["status"] == "True"]
        if job["spec"]["suspend"]:
            if status.get("startTime") and not suspended:
                condition = {"type": "Suspended", "status": "True"}
                self.cluster.change(ref, status={"active": 0, "ready": 0, "conditions": [condition]})
            return
        if not status.get("startTime") or suspended:
            self.starts.setdefault(name, []).append(at())
            start = {"startTime": self.cluster.now().isoformat(), "active": 1, "ready": 0, "conditions": []}
            self.cluster.change(ref, status=start)
        elif name not in self.broken and not status.get("ready"):
            self.cluster.change(ref, status={"ready": 1})


def world(count=1, **more):
    """A trigger with `count` sources, a Job of each waits."""
    cluster, names = Cluster(), [f"s{number}" for number in range(count)]
    entry = recorded()["checkedSources"]["app"]
    trigger = cluster.trigger(names=names, status={"checkedSources": dict.fromkeys(names, entry)})
    cluster.change(REF, status={"conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded"}]})
    jobs = [cluster.job(trigger, source=name, age_s=n, admission="waiting", **more) for n, name in enumerate(names)]
    return cluster, trigger, jobs


def running(controller, jobs):
    """Asserts nothing: which of the Jobs have a slot now."""
    found = [controller.cluster.objects[controller.cluster.ref(job)] for job in jobs]
    return [n for n, job in enumerate(found) if not job["spec"]["suspend"]]


class Playing:
    """A Job controller at work while entered."""

    def __init__(self, cluster, *broken):
        self.controller = Controller(cluster, broken={job["metadata"]["name"] for job in broken})

    async def __aenter__(self):
        self.task = asyncio.ensure_future(self.controller.run())
        return self.controller

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@virtual
async def test_a_job_that_does_not_start_is_tried_again_with_a_back_off_and_runs_once():
    """After 600 s, and then 1, 2, 4, 8, 16 and 30 min later; when its pod can start, nothing stops it any more."""
    cluster, _, jobs = world()
    async with Playing(cluster, *jobs) as controller, leader(cluster, limit=1):
        name = jobs[0]["metadata"]["name"]
        await until(lambda: len(controller.starts.get(name, ())) == 8, within_s=4 * 3600)
        gaps = [round(b - a) for a, b in zip(controller.starts[name], controller.starts[name][1:], strict=False)]
        assert gaps == [pytest.approx(600 + minutes * 60, abs=5) for minutes in (1, 2, 4, 8, 16, 30, 30)]
        controller.broken.clear()
        await asyncio.sleep(3000)
        assert len(controller.starts[name]) == 8
        assert cluster.reasons == ["JobNotStarting"] * 7
        assert cluster.series("jobs_requeued_total{") == 7
    assert cluster.made("delete") == []
    assert warnings_of(cluster.objects[REF]["status"]) == []


@virtual
async def test_its_slot_is_for_others_within_seconds():
    """Sixteen Jobs whose image does not exist hold every slot; the next one runs after the time-out."""
    cluster, _, jobs = world(17)
    async with Playing(cluster, *jobs[:16]) as controller, leading(queue_of(cluster, limit=16)):
        await until(lambda: running(controller, jobs) == list(range(16)), within_s=5)
        began = at()
        await until(lambda: 16 in running(controller, jobs), within_s=630)
        assert at() - began >= 595
        controller.broken.clear()
        await asyncio.sleep(60)
        cluster.finish(jobs[16])
        for _ in range(300):
            for job in jobs:
                if (cluster.objects[cluster.ref(job)].get("status") or {}).get("ready"):
                    cluster.finish(job)
            await asyncio.sleep(30)
    for job in jobs:
        conditions = cluster.objects[cluster.ref(job)]["status"]["conditions"]
        assert [condition["type"] for condition in conditions] == ["Complete"]
    assert cluster.made("delete") == []


@virtual
async def test_the_trigger_shows_the_cause_until_the_job_starts():
    """A warning, with what the Job's status says about it."""
    cluster, _, jobs = world()
    async with Playing(cluster, *jobs) as controller, leader(cluster, limit=1):
        await until(lambda: warnings_of(cluster.objects[REF]["status"]), within_s=630)
        [warning] = warnings_of(cluster.objects[REF]["status"])
        assert (warning.reason, warning.source) == ("JobNotStarting", "s0")
        assert "its pod is not ready" in warning.message
        controller.broken.clear()
        await until(lambda: not warnings_of(cluster.objects[REF]["status"]), within_s=90)


@virtual
async def test_zero_waits_for_ever_and_an_action_has_its_own_time():
    """As recorded on the Job when it was created."""
    for own, requeued in (("0", False), ("30", True)):
        cluster, _, jobs = world(start_timeout_seconds=own)
        async with Playing(cluster, *jobs), leading(queue_of(cluster, limit=1)):
            await asyncio.sleep(50)
            assert cluster.objects[cluster.ref(jobs[0])]["spec"]["suspend"] is requeued
            await asyncio.sleep(5000 if own == "0" else 0)
            assert cluster.objects[cluster.ref(jobs[0])]["spec"]["suspend"] is requeued


@pytest.mark.parametrize("status", [{"ready": 1}, {"failed": 1}, {"succeeded": 1}], ids=str)
def test_a_job_that_has_started_is_never_suspended(status):
    """Also if its pod is not ready any more, because its node is lost."""

    @virtual
    async def check():
        cluster, trigger, _ = world(0)
        job = cluster.job(trigger, source="s", suspend=False, admission="admitted")
        cluster.change(REF, status={"checkedSources": {"s": recorded()["checkedSources"]["app"]}})
        cluster.change(cluster.ref(job), status=JUST_STARTED | status)
        async with leading(queue_of(cluster, limit=1)):
            await asyncio.sleep(5)
            cluster.change(cluster.ref(job), status=JUST_STARTED)
            await asyncio.sleep(3000)
        assert not cluster.objects[cluster.ref(job)]["spec"]["suspend"]

    check()


@pytest.mark.parametrize(
    "of_kueue",
    [
        {"labels": {KUEUE_LABEL: "team"}, "admission": "elsewhere"},
        {"admission": "elsewhere"},
        {"admission": "admitted", "changes": 1},  # Kueue's webhook suspended it at its creation, Kueue resumed it
        {"admission": "admitted", "admitted_at": "2026-05-06T07:00:00Z", "changes": 3},
        {"admission": "waiting", "changes": 1},
    ],
    ids=["queue name", "noted", "suspended at its creation", "suspended after we admitted it", "resumed by a person"],
)
def test_jobs_of_other_admitters_are_left_alone(of_kueue):
    """With a queue name or without: another party let them run, and decides about them."""

    @virtual
    async def check():
        cluster, trigger, _ = world(0)
        changes, labels = of_kueue.pop("changes", 0), of_kueue.pop("labels", None)
        job = cluster.job(trigger, source="s", suspend=False, labels=labels, **of_kueue)
        cluster.change(REF, status={"checkedSources": {"s": recorded()["checkedSources"]["app"]}})
        metadata = {"generation": 1 + changes}
        cluster.change(cluster.ref(job), status=JUST_STARTED, metadata=metadata)
        async with leading(queue_of(cluster, limit=1)):
            await asyncio.sleep(3000)
        assert not cluster.objects[cluster.ref(job)]["spec"]["suspend"]

    check()


@virtual
async def test_a_job_that_a_person_suspends_meanwhile_is_theirs():
    """Resumed and suspended again by others, it is not admitted when its back-off is over."""
    cluster, _, jobs = world()
    ref = cluster.ref(jobs[0])
    async with Playing(cluster, *jobs), leading(queue_of(cluster, limit=1)):
        await until(lambda: cluster.objects[ref]["metadata"]["annotations"].get("git-events-runner.rs/requeues"))
        cluster.change(ref, spec={**jobs[0]["spec"], "suspend": False})
        cluster.change(ref, spec={**jobs[0]["spec"], "suspend": True})
        await asyncio.sleep(3000)
        assert cluster.objects[ref]["spec"]["suspend"]


@virtual
async def test_a_lost_answer_puts_no_job_back_twice():
    """The request arrived: the mark is on the Job, and its back-off is that of the first time."""
    cluster, _, jobs = world()
    async with Playing(cluster, *jobs) as controller, leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(590)
        cluster.faults = [("after", ApiUnavailable("lost"))]
        await asyncio.sleep(30)
        assert cluster.objects[cluster.ref(jobs[0])]["metadata"]["annotations"]["git-events-runner.rs/requeues"] == "1"
        await until(lambda: len(controller.starts[jobs[0]["metadata"]["name"]]) == 2, within_s=60)


@virtual
async def test_the_next_leader_continues_the_back_off():
    """It is recorded on the Job; the time that a Job has to start begins again."""
    cluster, _, jobs = world()
    async with Playing(cluster, *jobs) as controller:
        async with leading(queue_of(cluster, limit=1)):
            await until(lambda: cluster.series("jobs_requeued_total{") == 1)
            put_back = at()
        async with leading(queue_of(cluster, limit=1)):
            await until(lambda: len(controller.starts[jobs[0]["metadata"]["name"]]) == 2, within_s=90)
            assert at() - put_back >= 59


@virtual
async def test_an_older_run_is_skipped_once_a_newer_one_of_its_source_has_started():
    """An older commit never runs after a newer one; while the newer one does not start either, both are tried."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded())
    old = cluster.job(trigger, admission="waiting", reason="fire-first")
    async with Playing(cluster, old) as controller, leader(cluster, limit=4):
        await until(lambda: cluster.series("jobs_requeued_total{") == 1)
        new = cluster.job(trigger, 2, age_s=1, admission="waiting", reason="fire-changed", commit=B)
        controller.broken.add(new["metadata"]["name"])
        last = {"name": new["metadata"]["name"], "phase": "Queued"}
        cluster.change(REF, status=recorded(runs=2, commit=B, lastJob=last))
        await until(lambda: cluster.series("jobs_requeued_total{") == 3, within_s=3600)
        assert cluster.ref(old) in cluster.objects
        controller.broken.remove(new["metadata"]["name"])
        await until(lambda: cluster.ref(old) not in cluster.objects, within_s=3600)
        await until(lambda: "Superseded" in cluster.reasons, within_s=5)
        assert cluster.objects[cluster.ref(new)]["status"]["ready"] == 1
