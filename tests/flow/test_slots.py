"""Slots while requests are late and processes stand still: never one Job more than the limit (tests/model/slots.py)."""

import asyncio

import pytest

from git_events_runner.errors import ApiError, ApiInvalid, ApiUnavailable
from git_events_runner.resources.ref import Ref
from tests.flow.test_queue import leading, names, queue_of, running, world
from tests.flow.virtual import until, virtual
from tests.flow.world import Fence

FIRST, SECOND = Ref("Job", "n", "first"), Ref("Job", "n", "second")


@virtual
async def test_a_leader_whose_fence_is_lost_gives_no_slot():
    """It stood still for longer than its lease, and has not noticed: its tasks still work."""
    cluster, _, _ = world()
    queue, fence = queue_of(cluster), Fence()
    async with leading(queue, fence) as task:
        await asyncio.sleep(0.1)
        fence.lost = True
        assert not queue.acquire_slot(FIRST)
        assert not task.done()
        fence.lost = False
        assert queue.acquire_slot(FIRST)
        fence.lost = True
        assert not queue.acquire_slot(FIRST)  # nor again one that it has taken


@pytest.mark.parametrize("late_s", [16, 31, 55])
@virtual
async def test_a_creation_that_arrives_late_finds_its_slot_taken(late_s):
    """The live read does not find the Job yet: nothing else starts before it, and then it counts."""
    cluster, trigger, _ = world()
    queue = queue_of(cluster, limit=1)
    job = cluster.job(trigger, suspend=False)  # its name; it is not there yet
    ref = cluster.ref(job)
    cluster.drop(ref)
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(ref)
        await asyncio.sleep(late_s)
        assert not queue.acquire_slot(SECOND)
        cluster.put({**job, "metadata": {**job["metadata"], "uid": "arrived"}})
        await asyncio.sleep(120)
        assert not queue.acquire_slot(SECOND)
        assert running(cluster) == [ref.name]


@virtual
async def test_a_run_that_is_tried_again_takes_its_own_slot():
    """Its name is the same: what was taken for it is no obstacle, and the slot ends with the Job that is made."""
    cluster, trigger, _ = world()
    queue = queue_of(cluster, limit=1)
    job = cluster.job(trigger, suspend=False)
    ref = cluster.ref(job)
    cluster.drop(ref)
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(ref)
        await asyncio.sleep(20)
        assert queue.acquire_slot(ref)
        made = cluster.put({**job, "metadata": {**job["metadata"], "uid": "made"}})
        queue.confirm(ref)
        assert not queue.acquire_slot(SECOND)
        cluster.finish(made)
        assert queue.acquire_slot(SECOND)


@virtual
async def test_a_creation_that_is_refused_keeps_the_slot_of_an_earlier_one():
    """The first request was lost on its way and may arrive; the second was refused."""
    cluster, _, _ = world()
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(FIRST)
        assert queue.acquire_slot(FIRST)
        queue.release(FIRST)
        assert not queue.acquire_slot(SECOND)
        await asyncio.sleep(90)
        assert queue.acquire_slot(SECOND)


@virtual
async def test_an_admission_that_arrives_late_resumes_no_second_job():
    """It was lost on its way: the same Job is admitted again, in the slot that it has, before any other."""
    cluster, _, jobs = world(2)
    cluster.faults = [("before", ApiUnavailable("lost"))]
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(14)
        late = cluster.made("patch", "Job")[0]
        await until(lambda: running(cluster) == names(jobs[:1]), within_s=5)
        with pytest.raises(ApiInvalid):
            await cluster.patch(late[1], late[2])
        await asyncio.sleep(60)
        assert running(cluster) == names(jobs[:1])


@virtual
async def test_an_admission_that_arrives_between_two_tries_keeps_its_slot():
    """The second try is refused because the first one has arrived: the Job runs, whatever the cache still says."""
    cluster, _, jobs = world(2)
    cluster.faults = [("before", ApiUnavailable("lost"))]
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(14)
        late = cluster.made("patch", "Job")[0]
        cluster.lagging.add("Job")
        admit, cluster.patch = cluster.patch, None

        async def patch(ref, body, **options):
            cluster.patch = admit
            await admit(late[1], late[2])  # the late one
            return await admit(ref, body, **options)

        cluster.patch = patch
        await asyncio.sleep(60)
        assert running(cluster) == names(jobs[:1])


def refusing(cluster, ref, answers, *, took_s=0.001):
    """The admissions of one Job end with these errors, the last one again and again."""
    admit, left = cluster.patch, list(answers)

    async def patch(patched, body, **options):
        if patched != ref:
            return await admit(patched, body, **options)
        await asyncio.sleep(took_s)
        raise left.pop(0) if len(left) > 1 else left[0]

    cluster.patch = patch


@virtual
async def test_a_job_that_is_refused_after_a_lost_answer_keeps_nobody_out():
    """Once the lost request cannot arrive any more, the slot is free for others."""
    cluster, _, jobs = world(2)
    refusing(cluster, cluster.ref(jobs[0]), [ApiUnavailable("lost"), ApiError("denied", status=403)])
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(60)
        assert running(cluster) == []
        await until(lambda: running(cluster) == names(jobs[1:]), within_s=60)


@virtual
async def test_a_creation_that_is_refused_after_a_lost_one_keeps_no_slot():
    """A quota refuses it, and it is tried again more often than a request may be late."""
    cluster, _, _ = world()
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(FIRST)
        for _ in range(3):
            await asyncio.sleep(50)
            assert queue.acquire_slot(FIRST)
            queue.release(FIRST)
        assert queue.acquire_slot(SECOND)


@pytest.mark.parametrize("error", [ApiUnavailable("failed calling webhook"), ApiError("denied", status=403)])
@virtual
async def test_a_job_that_cannot_be_admitted_expires(error):
    """Also if each answer takes its time, or tells nothing: the waiting time runs while it is tried."""
    cluster, _, jobs = world(1, reason="fire-always")
    refusing(cluster, cluster.ref(jobs[0]), [error], took_s=2.0)
    async with leading(queue_of(cluster, limit=1, waiting_s=300)):
        await asyncio.sleep(290)
        assert cluster.ref(jobs[0]) in cluster.objects
        await until(lambda: cluster.ref(jobs[0]) not in cluster.objects, within_s=30)


@virtual
async def test_a_job_is_not_deleted_whose_lost_admission_arrives():
    """It runs by then, and the cache is behind: it has another version."""
    cluster, _, jobs = world(1, reason="fire-always")
    cluster.faults = [("before", ApiUnavailable("lost"))]
    async with leading(queue_of(cluster, limit=1, waiting_s=14)):
        await asyncio.sleep(13)
        cluster.lagging.add("Job")
        late = cluster.made("patch", "Job")[0]
        await cluster.patch(late[1], late[2])
        await asyncio.sleep(30)
        assert running(cluster) == names(jobs)


@virtual
async def test_a_job_that_does_not_exist_is_not_admitted_again_at_once():
    """While its cache is behind, the queue would else send hundreds of requests."""
    cluster, _, jobs = world(2)
    queue = queue_of(cluster, limit=1)
    cluster.lagging.add("Job")
    async with leading(queue):
        del cluster.objects[cluster.ref(jobs[0])]
        await asyncio.sleep(10)
        assert 1 <= len([call for call in cluster.made("patch") if call[1] == cluster.ref(jobs[0])]) <= 3
        assert running(cluster) == names(jobs[1:])


@virtual
async def test_a_job_whose_admission_takes_long_keeps_no_new_one_waiting():
    """It has its slot: what is created in another namespace meanwhile starts at once."""
    cluster, _, jobs = world(1)
    refusing(cluster, cluster.ref(jobs[0]), [ApiUnavailable("no answer")], took_s=5.0)
    queue = queue_of(cluster, limit=2)
    async with leading(queue):
        await asyncio.sleep(1)
        assert queue.acquire_slot(Ref("Job", "other", "new"))
        assert not queue.acquire_slot(SECOND)


@virtual
async def test_a_job_that_is_recorded_as_expired_does_not_run():
    """The answer to its deletion is lost, and a slot becomes free before the next try."""
    cluster, _, jobs = world(2, reason="fire-always")
    delete, cluster.delete = cluster.delete, None

    async def lost(ref, **options):
        cluster.delete = delete
        cluster.finish(jobs[0])
        raise ApiUnavailable("lost")

    cluster.delete = lost
    async with leading(queue_of(cluster, limit=1, waiting_s=60)):
        await until(lambda: "Expired" in cluster.reasons, within_s=90)
        await until(lambda: cluster.made("delete"), within_s=15)
    assert running(cluster) == []
