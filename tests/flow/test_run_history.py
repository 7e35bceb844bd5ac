"""The history of runs in a trigger's status, as the leader keeps it."""

import asyncio

from git_events_runner.resources.job import JobView
from git_events_runner.rules.ledger.mutations import Settle
from git_events_runner.rules.ledger.patch import combine
from tests.flow.test_results import REF, following
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster, ended, recorded


def settled(cluster, *jobs, **fields):
    """The trigger's status with these runs recorded."""
    status = recorded(runs=0, **fields)
    for job in jobs:
        settle = Settle.from_job(job["metadata"]["name"], JobView.of(job), now=cluster.now())
        status, _ = combine(status, [settle])
    cluster.change(REF, status=status)


def history(cluster):
    return cluster.objects[REF]["status"]["history"]


def phases(cluster):
    return [(record["number"], record["phase"]) for record in history(cluster)]


@virtual
async def test_a_run_is_followed_from_its_queue_to_its_end():
    """Queued, then started, then finished with the exit code: each with the write that shows the phase."""
    cluster = Cluster()
    job = cluster.job(cluster.trigger(status=recorded(runs=0)), suspend=True)
    settled(cluster, job)
    [record] = history(cluster)
    assert (record["phase"], record["source"], record.get("started")) == ("Queued", "app", None)
    async with following(cluster):
        cluster.change(
            cluster.ref(job), spec={**job["spec"], "suspend": False}, status={"startTime": "2026-05-06T07:00:10Z"}
        )
        await until(lambda: phases(cluster) == [(1, "Running")])
        message = "Container action-worker for pod n/x failed with exit code 3 matching FailJob rule at index 1"
        status = ended("Failed") | {"startTime": "2026-05-06T07:00:10Z"}
        status["conditions"][0] |= {"reason": "PodFailurePolicy", "message": message}
        cluster.change(cluster.ref(job), status=status)
        await until(lambda: phases(cluster) == [(1, "Failed")])
    [record] = history(cluster)
    assert (record["started"], record["exitCode"]) == ("2026-05-06T07:00:10Z", 3)
    assert record["finished"]


@virtual
async def test_the_end_of_a_run_that_a_newer_one_followed_is_recorded():
    """`lastJob` names the newer run; the history shows how both ended."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=0))
    older, newer = (cluster.job(trigger, number=number, suspend=False) for number in (1, 2))
    settled(cluster, older, newer)
    async with following(cluster):
        cluster.finish(older)
        await until(lambda: phases(cluster) == [(2, "Running"), (1, "Succeeded")])
        cluster.finish(newer)
        await until(lambda: phases(cluster) == [(2, "Succeeded"), (1, "Succeeded")])


@virtual
async def test_a_job_that_is_deleted_before_it_ended_is_recorded_with_the_time():
    """Independent of who deleted it, the run is shown as deleted, not as running for ever."""
    cluster = Cluster()
    job = cluster.job(cluster.trigger(status=recorded(runs=0)))
    settled(cluster, job)
    async with following(cluster):
        cluster.drop(cluster.ref(job))
        await until(lambda: phases(cluster) == [(1, "Deleted")])
    assert history(cluster)[0]["finished"]


@virtual
async def test_a_job_that_was_deleted_while_no_replica_was_the_leader_is_shown_as_gone():
    """Also one that is not the last of its source."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=0))
    older, newer = (cluster.job(trigger, number=number, suspend=False) for number in (1, 2))
    settled(cluster, older, newer)
    cluster.finish(newer)
    cluster.drop(cluster.ref(older))
    async with following(cluster):
        await until(lambda: phases(cluster) == [(2, "Succeeded"), (1, "Gone")], within_s=120)


@virtual
async def test_a_history_that_is_right_is_not_written():
    """A new leader that finds every phase as it is writes nothing, however many runs there are."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=0))
    jobs = [cluster.job(trigger, number=number) for number in (1, 2, 3)]
    for job in jobs:
        cluster.finish(job)
    settled(cluster, *(cluster.objects[cluster.ref(job)] for job in jobs))
    async with following(cluster):
        await asyncio.sleep(60)
    cluster.calls.clear()
    async with following(cluster):
        await asyncio.sleep(60)
    assert cluster.made("patch") + cluster.made("replace") == []
