"""Whose suspension it is: only one of ours is lifted, and once, whatever people and other controllers do to a Job."""

import asyncio

import pytest

from git_events_runner.resources.ref import Ref
from tests.flow.test_queue import leading, queue_of, world
from tests.flow.virtual import until, virtual
from tests.flow.world import recorded


def resume(cluster, job):
    """Another party lets a Job run, and the Job controller notes it."""
    status = {"startTime": "2026-05-06T07:00:00Z", "conditions": [{"type": "Suspended", "status": "False"}]}
    cluster.change(cluster.ref(job), spec={"suspend": False}, status=status)


def stands(cluster, job):
    """Whether a Job is suspended, and who admits it."""
    found = cluster.objects[cluster.ref(job)]
    return found["spec"]["suspend"], found["metadata"]["annotations"].get("git-events-runner.rs/admission")


@virtual
async def test_a_job_that_ran_once_is_not_resumed():
    """Also when it is suspended before the Job controller noted its start; its slot is free, and it never expires."""
    cluster, trigger, _ = world(status=recorded())
    first = cluster.job(trigger, admission="waiting")
    second = cluster.job(trigger, 2, age_s=1, admission="waiting")
    async with leading(queue_of(cluster, limit=1, waiting_s=10)):
        await until(lambda: stands(cluster, first) == (False, "admitted"))
        cluster.change(cluster.ref(first), spec={"suspend": True})
        await until(lambda: stands(cluster, second) == (False, "admitted"))
        cluster.finish(second)
        await asyncio.sleep(1000)
    assert stands(cluster, first) == (True, "admitted")
    assert cluster.made("delete") == []


@virtual
async def test_a_job_of_an_earlier_version_that_ran_once_is_not_resumed():
    """1.0.0 wrote no word on who admits a Job: the Job's status tells whether it was started."""
    cluster, trigger, _ = world(status=recorded(runs=3))
    started = cluster.job(trigger)
    cluster.change(cluster.ref(started), status={"startTime": "2026-05-06T07:00:00Z"})
    resumed = cluster.job(trigger, 2)
    cluster.change(cluster.ref(resumed), status={"conditions": [{"type": "Suspended", "status": "False"}]})
    fresh = cluster.job(trigger, 3, age_s=1)
    async with leading(queue_of(cluster)):
        await until(lambda: stands(cluster, fresh) == (False, "admitted"))
        await asyncio.sleep(100)
    assert [stands(cluster, job) for job in (started, resumed)] == [(True, None)] * 2


@virtual
async def test_a_waiting_job_that_another_party_let_run_is_not_ours_any_more():
    """Suspended again, even by who resets its start, it is not resumed; meanwhile it holds a slot."""
    cluster, trigger, _ = world(status=recorded())
    cluster.job(trigger, suspend=False, admission="admitted")
    theirs = cluster.job(trigger, 2, age_s=1, admission="waiting")
    queue = queue_of(cluster, limit=2)
    cluster.limit = 1
    async with leading(queue):
        await asyncio.sleep(5)
        assert stands(cluster, theirs) == (True, "waiting")
        resume(cluster, theirs)
        await until(lambda: stands(cluster, theirs) == (False, "elsewhere"))
        cluster.limit = 2
        assert not queue.acquire_slot(Ref("Job", "n", "new"))
        cluster.change(cluster.ref(theirs), spec={"suspend": True}, status={"startTime": None, "conditions": []})
        await asyncio.sleep(100)
        assert queue.acquire_slot(Ref("Job", "n", "new"))
    assert stands(cluster, theirs) == (True, "elsewhere")


@pytest.mark.parametrize(
    "overtaken",
    [
        {"metadata": {"annotations": {"git-events-runner.rs/admission": "elsewhere"}}},
        {"status": {"startTime": "2026-05-06T07:00:00Z"}},
    ],
    ids=["marked", "started"],
)
@virtual
async def test_an_admission_that_another_party_overtook_changes_nothing(overtaken):
    """The write tests whose suspension it lifts: a cache that is behind resumes no Job of others."""
    cluster, trigger, _ = world(status=recorded())
    job = cluster.job(trigger, admission="waiting")
    async with leading(queue_of(cluster, limit=0)) as task:
        await asyncio.sleep(1)
        cluster.lagging.add("Job")
        cluster.change(cluster.ref(job), **overtaken)
        cluster.limit = 1
        await until(lambda: cluster.made("patch"))
        await asyncio.sleep(10)
        assert not task.done()
    assert stands(cluster, job)[0] is True
