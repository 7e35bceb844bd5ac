"""Jobs that do not start are counted by trigger, by the leader alone."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.flow.jobs.starts import Starts
from tests.flow.virtual import until, virtual
from tests.flow.world import START, Cluster, Fence, recorded


@asynccontextmanager
async def counting(cluster):
    starts = Starts(store=cluster.store, metrics=cluster.metrics, now=cluster.now)
    task = asyncio.ensure_future(starts.run_as_leader(Fence()))
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def world(suspend=False, **status):
    cluster = Cluster()
    job = cluster.job(cluster.trigger(status=recorded()), suspend=suspend)
    cluster.change(cluster.ref(job), status={"startTime": START.isoformat(), **status})
    return cluster, job


def count(cluster):
    return cluster.series("jobs_not_starting{")


@virtual
async def test_a_job_without_a_pod_counts_after_ten_minutes_and_until_one_is_ready():
    """The series has the trigger's labels, and is removed when the Job starts."""
    cluster, job = world(active=1, ready=0)
    async with counting(cluster):
        await asyncio.sleep(595)
        assert count(cluster) == 0
        await until(lambda: count(cluster) == 1, within_s=30)
        labels = 'namespace="n",trigger_kind="WebhookTrigger",trigger_name="hook"'
        assert cluster.series(f"jobs_not_starting{{{labels}}}") == 1
        cluster.change(cluster.ref(job), status={"ready": 1})
        await until(lambda: b"jobs_not_starting{" not in cluster.metrics.render(), within_s=30)


@virtual
async def test_a_job_that_is_resumed_has_ten_minutes_again():
    """The Job controller sets startTime anew, as with every suspended Job."""
    cluster, job = world(ready=0)
    async with counting(cluster):
        await until(lambda: count(cluster) == 1)
        cluster.change(cluster.ref(job), status={"startTime": cluster.now().isoformat()})
        await until(lambda: count(cluster) == 0, within_s=30)


@pytest.mark.parametrize(
    "status",
    [{"ready": 1}, {"failed": 1}, {"succeeded": 1}, {"uncountedTerminatedPods": {"failed": ["uid"]}}],
    ids=lambda status: next(iter(status)),
)
def test_a_pod_that_is_ready_or_has_ended_is_a_start(status):
    """Whatever the Job waits for afterwards, its pod could be made."""
    _never(world(**status)[0])


def test_a_suspended_job_is_not_expected_to_start():
    """It waits for a slot, which has a metric of its own."""
    _never(world(suspend=True)[0])


def test_a_job_of_no_trigger_is_not_counted():
    """Anybody can make Jobs with our labels."""
    cluster, job = world()
    cluster.drop(cluster.ref(job))
    cluster.put(job | {"metadata": job["metadata"] | {"name": "forged", "uid": "other"}})
    _never(cluster)


@virtual
async def _never(cluster):
    async with counting(cluster):
        await asyncio.sleep(3600)
        assert count(cluster) == 0


@virtual
async def test_the_series_end_with_leadership():
    """A former leader's last word would be true for ever."""
    cluster, _ = world(ready=0)
    async with counting(cluster):
        await until(lambda: count(cluster) == 1)
    assert b"jobs_not_starting{" not in cluster.metrics.render()
