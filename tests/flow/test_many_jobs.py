"""What a Job event and a second cost does not grow with the Jobs that have ended and are kept."""

import asyncio
import gc
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiError, ApiUnavailable
from git_events_runner.flow.jobs.secret_copies import SecretCopies
from git_events_runner.resources.ref import Ref
from git_events_runner.wiring.deletions import Deletions
from tests.flow.test_concurrent_admissions import busy
from tests.flow.test_queue import leading, queue_of, tenant
from tests.flow.test_results import following
from tests.flow.virtual import at, until, virtual
from tests.flow.world import Cluster, Fence, NoMessages, ended, recorded

NONE, MANY = 3, 600
REF = Ref("WebhookTrigger", "n", "hook")


def estate(kept, cluster=None):
    """A trigger with Jobs that have ended, have their TTL and are recorded, and a source whose run comes next."""
    cluster = cluster or Cluster()
    whole = recorded(runs=kept)["checkedSources"]["app"]
    status = {"checkedSources": {"app": whole, "new": whole | {"runs": 99}}}
    trigger = cluster.trigger(names=["app", "new"], status=status)
    for number in range(kept):
        annotations = {"ttl_seconds_after_finished": "7200", "needs_secret": "yes"}
        job = cluster.job(trigger, number + 1, suspend=False, **annotations)
        cluster.change(cluster.ref(job), spec={"ttlSecondsAfterFinished": 7200}, status=ended())
    return cluster, trigger


@asynccontextmanager
async def copying(cluster):
    """The copies of Secrets of a leader."""
    cluster.copies = getattr(cluster, "copies", None) or cluster
    part = SecretCopies(
        deletions=Deletions(
            api=cluster,
            writer=cluster,
            events=cluster,
            messages=NoMessages(),
            request_timeout_s=5.0,
            now=cluster.now,
        ),
        store=cluster.store,
        copies=cluster.copies,
        writer=cluster,
        announcer=cluster,
        now=cluster.now,
        weight=equal,
    )
    task = asyncio.ensure_future(part.run_as_leader(Fence()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def led(cluster):
    """All that follows Jobs, as a leader."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(leading(queue_of(cluster)))
        await stack.enter_async_context(following(cluster))
        await stack.enter_async_context(copying(cluster))
        yield


class Calls:
    """Counts the calls of Python functions, without those of garbage collections: the work done, on any machine."""

    def __enter__(self):
        self.count, self._before = 0, sys.getprofile()
        gc.disable()
        sys.setprofile(self._called)
        return self

    def _called(self, _frame, event, _argument):
        self.count += event == "call"

    def __exit__(self, *_):
        sys.setprofile(self._before)
        gc.enable()


async def _calls(kept):
    """Calls of an idle quarter of a minute, and of five Jobs that are created, run and end."""
    cluster, trigger = estate(kept)
    async with led(cluster):
        await asyncio.sleep(35)
        with Calls() as idle:
            await asyncio.sleep(15)
        await asyncio.sleep(19)
        with Calls() as busy_s:
            for number in range(5):
                job = cluster.job(trigger, number + 1, source="new", ttl_seconds_after_finished="7200")
                await asyncio.sleep(0.5)
                cluster.finish(job)
                await asyncio.sleep(0.5)
        assert cluster.reasons.count("JobSucceeded") == 5
    return idle.count, busy_s.count


def test_finished_jobs_cost_neither_an_idle_leader_nor_a_job_event():
    """Two hundred times as many that are kept: the same work for a second, and for a Job's life."""
    found = {}

    @virtual
    async def measure():
        for kept in (NONE, MANY):
            found[kept] = await _calls(kept)

    measure()
    few, many = found[NONE], found[MANY]
    assert many[0] <= few[0] * 1.2
    assert many[1] <= few[1] * 1.2
    assert few[1] > 500  # it was really counted


@virtual
async def test_what_is_kept_of_waiting_jobs_ends_with_them():
    """A Job that has ended, or is deleted, leaves nothing in the queue."""
    cluster, trigger = estate(0)
    queue = queue_of(cluster, limit=3)
    async with leading(queue):
        for number in range(20):
            job = cluster.job(trigger, number + 1, source="new")
            await asyncio.sleep(1)
            if number % 2:
                cluster.finish(job)
            else:
                cluster.drop(cluster.ref(job))
        await asyncio.sleep(3)
        assert queue._book._queued == {}


class Refusing(Cluster):
    """Of the namespace `bad` every write hangs, or is refused, and each attempt is noted."""

    def __init__(self, how):
        super().__init__()
        self.how, self.attempts = how, []

    async def _refuse(self, ref):
        if ref.namespace != "bad":
            return
        self.attempts.append(at())
        await asyncio.sleep({"hangs": 400, "times out": 5}.get(self.how, 0.001))
        raise busy() if self.how == "429" else ApiUnavailable("late") if self.how == "times out" else ApiError("no")

    async def write(self, ref, uid, *mutations):
        await self._refuse(ref)
        return await super().write(ref, uid, *mutations)

    async def patch(self, ref, body, **options):
        await self._refuse(ref)
        return await super().patch(ref, body, **options)

    async def delete(self, ref, **options):
        await self._refuse(ref)
        return await super().delete(ref, **options)

    async def copy_for(self, job, trigger, source):
        await self._refuse(Ref("Secret", job["metadata"]["namespace"], "copy"))


@pytest.mark.parametrize("how", ["refused", "429", "times out", "hangs"])
@pytest.mark.parametrize("triggers", [1, 5, 20])
def test_statuses_that_cannot_be_written_delay_no_other_tenants_job(how, triggers):
    """A Job is admitted, its end is shown and reported within a second, and each object that is refused backs off."""

    @virtual
    async def check():
        cluster = Refusing(how)
        jobs = []
        for number in range(triggers):
            bad = tenant(cluster, "bad", name=f"bad{number}")
            annotations = {"needs_secret": "yes", "ttl_seconds_after_finished": "7200"}
            jobs.append(cluster.job(bad, suspend=False, namespace="bad", **annotations))
            last = {"name": jobs[-1]["metadata"]["name"], "phase": "Queued"}
            cluster.change(cluster.ref(bad), status=recorded(lastJob=last))
        _, trigger = estate(0, cluster)
        async with led(cluster):
            for job in jobs:
                cluster.finish(job)
            for number in range(20):
                await asyncio.sleep(3.7)
                job, began = cluster.job(trigger, number + 1, source="new", ttl_seconds_after_finished="7200"), at()
                entry = {"lastJob": {"name": job["metadata"]["name"], "phase": "Queued"}}
                old = cluster.objects[REF]["status"]["checkedSources"]
                cluster.change(REF, status={"checkedSources": old | {"new": old["new"] | entry}})
                await until(lambda job=job: not cluster.objects[cluster.ref(job)]["spec"]["suspend"], within_s=10)
                assert at() - began < 1
                cluster.finish(job)
                began = at()
                await until(lambda: shown(cluster) == "Succeeded", within_s=10)
                assert at() - began < 1
                assert cluster.reasons.count("JobSucceeded") >= number + 1
            cluster.attempts.clear()
            await asyncio.sleep(600)
        assert 0 < len(cluster.attempts) < triggers * 3 * 65

    check()


def shown(cluster):
    return cluster.objects[REF]["status"]["checkedSources"]["new"]["lastJob"]["phase"]


@virtual
async def test_nothing_is_written_after_leadership():
    """What was under way, waits or backs off ends with it."""
    cluster = Refusing("refused")
    bad = tenant(cluster, "bad")
    job = cluster.job(bad, suspend=False, namespace="bad", needs_secret="yes", ttl_seconds_after_finished="5")
    async with led(cluster):
        cluster.finish(job)
        await asyncio.sleep(40)
    cluster.attempts.clear()
    await asyncio.sleep(300)
    assert cluster.attempts == []
