"""Deletions: the reason is recorded before the request, whatever happens to the process and to the request."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.errors import ApiConflict, ApiForbidden, ApiNotFound, ApiUnavailable
from git_events_runner.resources.ref import Ref
from tests.flow.test_queue import leading, queue_of
from tests.flow.test_results import results_of
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster, Fence, recorded

REF = Ref("WebhookTrigger", "n", "hook")
NEXT_S = 120


class Killed(Cluster):
    """Its process is killed when a request of that verb on a Job was done, or before it is."""

    def __init__(self, *, before):
        super().__init__()
        self.dead, self._before = asyncio.Event(), before

    async def delete(self, ref, **options):
        if ref.kind == "Job" and not self.dead.is_set():
            if not self._before:
                await super().delete(ref, **options)
            self.dead.set()
            await asyncio.Event().wait()
        return await super().delete(ref, **options)


@asynccontextmanager
async def leader(cluster, **options):
    """Queue and results of one leader."""
    queue = queue_of(cluster, **options)
    results = results_of(cluster, cluster.deletions.phase_of)
    follow = asyncio.ensure_future(results.run_as_leader(Fence()))
    try:
        async with leading(queue):
            yield
    finally:
        follow.cancel()
        await asyncio.gather(follow, return_exceptions=True)


def waiting(cluster, *, limit_s="30"):
    """A trigger whose only run waits, and is recorded."""
    trigger = cluster.trigger(status=recorded(runs=1))
    job = cluster.job(trigger, waiting_timeout_seconds=limit_s, reason="fire-always")
    last = {"name": job["metadata"]["name"], "phase": "Queued"}
    cluster.change(REF, status=recorded(runs=1, lastJob=last) | {"state": "Running"})
    return job


def phase(cluster):
    return cluster.objects[REF]["status"]["checkedSources"]["app"]["lastJob"]["phase"]


def reasons(cluster):
    return {one["type"]: one["reason"] for one in cluster.objects[REF]["status"].get("conditions", ())}


@virtual
async def test_a_process_killed_right_after_the_deletion_leaves_the_reason():
    """The next leader shows Expired, never Gone; the condition says how long the run waited."""
    cluster = Killed(before=False)
    job = waiting(cluster)
    async with leader(cluster, limit=0):
        await until(cluster.dead.is_set)
    assert cluster.ref(job) not in cluster.objects
    assert (phase(cluster), reasons(cluster)["Ready"]) == ("Expired", "Expired")
    async with leader(cluster, limit=0):
        await asyncio.sleep(NEXT_S)
    assert phase(cluster) == "Expired"
    assert "JobCancelled" not in cluster.reasons


@virtual
async def test_a_process_killed_right_before_the_deletion_has_it_done_by_the_next_leader():
    """What is recorded as expired does not wait a second time, and is shown as Expired all along."""
    cluster = Killed(before=True)
    job = waiting(cluster)
    async with leader(cluster, limit=0):
        await until(cluster.dead.is_set)
    assert (phase(cluster), cluster.ref(job) in cluster.objects) == ("Expired", True)
    async with leader(cluster, limit=0):
        await until(lambda: cluster.ref(job) not in cluster.objects, within_s=3)
        await asyncio.sleep(NEXT_S)
    assert phase(cluster) == "Expired"


@virtual
async def test_a_run_that_was_recorded_as_expired_starts_if_a_slot_is_free_now():
    """A new leader admits before it deletes; the phase follows the Job."""
    cluster = Killed(before=True)
    job = waiting(cluster)
    async with leader(cluster, limit=0):
        await until(cluster.dead.is_set)
    async with leader(cluster, limit=1):
        await until(lambda: phase(cluster) == "Running", within_s=5)
    assert not cluster.objects[cluster.ref(job)]["spec"]["suspend"]


@virtual
async def test_nothing_is_deleted_while_its_reason_cannot_be_recorded():
    """The API server takes no status for a while: the Job waits on, and is deleted when the reason is there."""
    cluster = Cluster()
    job = waiting(cluster)
    refuse, write = [True], cluster.write

    async def unwritable(ref, uid, *mutations):
        if refuse[0]:
            raise ApiUnavailable("away")
        return await write(ref, uid, *mutations)

    cluster.write = unwritable
    async with leader(cluster, limit=0):
        await asyncio.sleep(NEXT_S)
        assert cluster.ref(job) in cluster.objects
        refuse[0] = False
        await until(lambda: cluster.ref(job) not in cluster.objects, within_s=15)
        await until(lambda: phase(cluster) == "Expired")


@virtual
@pytest.mark.parametrize("refusal", [ApiConflict("changed"), ApiForbidden("no role")])
async def test_a_deletion_that_is_refused_leaves_the_run_queued(refusal):
    """The Job is still there: its phase is put back, and the deletion is tried again ten seconds later."""
    cluster = Cluster()
    job = waiting(cluster)
    tries, delete = [], cluster.delete

    async def refused(ref, **options):
        tries.append(asyncio.get_running_loop().time())
        if len(tries) < 3:
            raise refusal
        return await delete(ref, **options)

    cluster.delete = refused
    async with leader(cluster, limit=0):
        await until(lambda: tries)
        await until(lambda: phase(cluster) == "Queued", within_s=1)
        assert "Expired" not in cluster.reasons
        await until(lambda: cluster.ref(job) not in cluster.objects)
        await until(lambda: phase(cluster) == "Expired")
        await asyncio.sleep(30)
    assert tries[1] - tries[0] >= 9
    assert cluster.reasons == ["Expired"]


@virtual
async def test_a_deletion_whose_answer_is_lost_is_reported_once():
    """The Job is not reported as cancelled by a person, whether or not the request arrived."""
    for moment in ("before", "after"):
        cluster = Cluster()
        job = waiting(cluster)
        delete, lost = cluster.delete, []

        async def unanswered(ref, *, _delete=delete, _lost=lost, _moment=moment, **options):
            if _lost:
                return await _delete(ref, **options)
            _lost.append(ref)
            if _moment == "after":
                await _delete(ref, **options)
            raise ApiUnavailable("lost")

        cluster.delete = unanswered
        async with leader(cluster, limit=0):
            await until(lambda c=cluster, j=job: c.ref(j) not in c.objects)
            await asyncio.sleep(60)
        assert phase(cluster) == "Expired"
        assert set(cluster.reasons) == {"Expired"}


@virtual
async def test_a_job_whose_trigger_is_deleted_has_an_event_before_it_is_deleted():
    """There is no status any more; while the API server takes no Event the Job stays."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=1))
    job = cluster.job(trigger)
    cluster.drop(REF)
    away, record = [True], cluster.record

    async def unavailable(ref, uid, **event):
        if away[0]:
            raise ApiUnavailable("away")
        await record(ref, uid, **event)

    cluster.record = unavailable
    async with leader(cluster, limit=0):
        await asyncio.sleep(30)
        assert cluster.ref(job) in cluster.objects
        away[0] = False
        await until(lambda: cluster.ref(job) not in cluster.objects, within_s=120)
    assert [(ref, reason) for ref, reason, _ in cluster.told] == [(cluster.ref(job), "TriggerDeleted")]


@virtual
@pytest.mark.parametrize("refusal", [ApiForbidden("namespace is being terminated"), ApiNotFound("no namespace")])
async def test_a_namespace_that_takes_no_event_holds_no_deletion_up(refusal):
    """It is being deleted: the log has the reason."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=1))
    job = cluster.job(trigger)
    cluster.drop(REF)

    async def refused(ref, uid, **event):
        raise refusal

    cluster.record = refused
    async with leader(cluster, limit=0):
        await until(lambda: cluster.ref(job) not in cluster.objects, within_s=10)


@virtual
async def test_a_run_of_a_source_that_is_named_no_more_has_its_reason_in_an_event():
    """Its trigger gets no condition about it."""
    cluster = Cluster()
    trigger = cluster.trigger(status={"checkedSources": {}, "lastRunNumber": 3})
    job = cluster.job(trigger, 2, source="former", waiting_timeout_seconds="10")
    async with leader(cluster, limit=0):
        await until(lambda: cluster.ref(job) not in cluster.objects, within_s=60)
    assert [(ref, reason) for ref, reason, _ in cluster.told] == [(cluster.ref(job), "Expired")]
    assert reasons(cluster) == {}
