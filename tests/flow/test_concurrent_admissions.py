"""Admissions under way side by side: within the limits whatever is lost or late, and no namespace delays another."""

import asyncio
import random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from git_events_runner.errors import ApiError, ApiTooManyRequests, ApiUnavailable
from git_events_runner.resources.ref import Ref
from tests.flow.test_queue import leading, queue_of, tenant
from tests.flow.virtual import at, until, virtual
from tests.flow.world import Cluster, recorded

SOURCES = [f"s{number}" for number in range(12)]
FATES = ["done", "done", "done", "slow", "refused", "busy", "lost before", "lost after", "late"]


class Unreliable(Cluster):
    """Its PATCHes of Jobs take their time, are refused, lost, or arrive after their answer was given up.

    The Jobs that run are counted at each change; `most` is the highest number, by namespace and in all.
    """

    def __init__(self, seed):
        super().__init__()
        self.random, self.most, self.fates = random.Random(seed), {}, FATES

    def put(self, obj):
        made = super().put(obj)
        found = [ref.namespace for ref, job in self.objects.items() if ref.kind == "Job" and holds(job)]
        for name, count in [("", len(found)), *((namespace, found.count(namespace)) for namespace in set(found))]:
            self.most[name] = max(self.most.get(name, 0), count)
        return made

    async def patch(self, ref, body, **options):
        if ref.kind != "Job":
            return await super().patch(ref, body, **options)
        fate = self.random.choice(self.fates)
        await asyncio.sleep(self.random.uniform(0, 5 if fate == "slow" else 0.05))
        if fate in {"refused", "busy"}:
            raise ApiError("refused") if fate == "refused" else busy()
        if fate == "lost before":
            raise ApiUnavailable("lost")
        if fate == "late":
            asyncio.get_running_loop().call_later(self.random.uniform(0.1, 7), self._arrive, ref, body)
            raise ApiUnavailable("lost")
        answer = await super().patch(ref, body, **options)
        if fate == "lost after":
            raise ApiUnavailable("lost")
        return answer

    def _arrive(self, ref, body):
        late = super().patch(ref, body)
        task = asyncio.ensure_future(late)
        task.add_done_callback(lambda done: done.exception())


def busy():
    """A refusal for now."""
    error = ApiTooManyRequests("busy")
    error.retry_after_s = 30.0
    return error


def holds(job):
    """Whether a Job runs."""
    return not job["spec"]["suspend"] and not job.get("status")


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    limit=st.integers(1, 6),
    share=st.integers(0, 3),
    terms=st.integers(1, 3),
    deaf=st.booleans(),
)
def test_lost_and_late_admissions_never_exceed_the_limits(seed, limit, share, terms, deaf):
    """With ends, changes of leadership, new Jobs and a cache that is behind in between; and all Jobs run at last."""

    @virtual
    async def check():
        cluster = Unreliable(seed)
        jobs = []
        for namespace in ("one", "two"):
            entries = {name: recorded()["checkedSources"]["app"] for name in SOURCES}
            trigger = tenant(cluster, namespace, names=SOURCES, status={"checkedSources": entries})
            jobs += [cluster.job(trigger, source=name, namespace=namespace) for name in SOURCES]
        queue = queue_of(cluster, limit=limit, share=share, waiting_s=0)
        new = 0

        async def life():
            nonlocal new
            while True:
                await asyncio.sleep(cluster.random.uniform(0, 3))
                running = [job for job in cluster.objects.values() if job["kind"] == "Job" and holds(job)]
                if running:
                    cluster.finish(cluster.random.choice(running))
                if deaf:
                    (cluster.lagging.add if cluster.random.random() < 0.5 else cluster.catch_up)("Job")
                ref = Ref("Job", cluster.random.choice(["one", "two"]), f"new{new}")
                if queue.acquire_slot(ref):
                    queue.release(ref)
                    new += 1

        ends = asyncio.ensure_future(life())
        for _ in range(terms - 1):
            async with leading(queue):
                await asyncio.sleep(cluster.random.uniform(0, 20))
            await asyncio.sleep(7)  # what the former leader sent has arrived when the next one lists
        async with leading(queue) as task:
            await asyncio.sleep(30)
            cluster.fates = ["done"]
            await until(lambda: task.done() or all(cluster.objects[cluster.ref(job)].get("status") for job in jobs))
            assert not task.done(), task.exception()
        ends.cancel()
        await asyncio.gather(ends, return_exceptions=True)
        each = min(share, limit) if share else max(limit * 3 // 4, 1)
        assert cluster.most.pop("") <= limit
        assert max(cluster.most.values()) <= each

    check()


@virtual
async def test_free_slots_are_filled_side_by_side():
    """Sixteen of them in the time of one request, and what ends is replaced as quickly: never one after the other."""
    cluster = Cluster()
    cluster.latency_s = 0.25
    names = [f"s{number}" for number in range(64)]
    entries = {name: recorded()["checkedSources"]["app"] for name in names}
    trigger = cluster.trigger(names=names, status={"checkedSources": entries})
    for place, name in enumerate(names):
        cluster.job(trigger, source=name, age_s=place)
    async with leading(queue_of(cluster, limit=16)):
        for done in range(4):
            running = await until(lambda: now if len(now := alive(cluster)) == 16 else None, within_s=0.4)
            assert [job["metadata"]["name"] for job in running] == [
                cluster.objects[ref]["metadata"]["name"] for ref in list(jobs(cluster))[done * 16 : done * 16 + 16]
            ]
            for job in running:
                cluster.finish(job)
        assert at() < 1.7


def jobs(cluster):
    return [ref for ref in cluster.objects if ref.kind == "Job"]


def alive(cluster):
    return [cluster.objects[ref] for ref in jobs(cluster) if holds(cluster.objects[ref])]


class Hanging(Cluster):
    """Requests for Jobs, Secrets and statuses of the namespace `bad` hang, or are refused, for as long as it lasts."""

    hangs = True

    async def _delayed(self, ref):
        if ref.namespace == "bad":
            await asyncio.sleep(5 if self.hangs else 0.001)
            raise ApiUnavailable("hangs") if self.hangs else busy()

    async def patch(self, ref, body, **options):
        await self._delayed(ref)
        return await super().patch(ref, body, **options)

    async def delete(self, ref, **options):
        await self._delayed(ref)
        return await super().delete(ref, **options)

    async def write(self, ref, uid, *mutations):
        await self._delayed(ref)
        return await super().write(ref, uid, *mutations)


def test_requests_of_a_hanging_namespace_delay_no_admission_of_another():
    """Admissions, deletions, notes of a Job that another party let run: each kind, hanging or refused for minutes."""
    for hangs in (True, False):
        _admitted_beside(hangs=hangs)


@virtual
async def _admitted_beside(*, hangs):
    cluster = Hanging()
    cluster.hangs = hangs
    bad = tenant(cluster, "bad", names=SOURCES, status={"checkedSources": {n: entry() for n in SOURCES}})
    good = tenant(cluster, "good", names=SOURCES, status={"checkedSources": {n: entry() for n in SOURCES}})
    gone = {"kind": "WebhookTrigger", "metadata": {"name": "gone", "uid": "none"}}
    for number, name in enumerate(SOURCES):
        cluster.job(bad, source=name, age_s=-100, namespace="bad", waiting_timeout_seconds="10")
        cluster.job(gone, number + 1, namespace="bad", age_s=-100)
        cluster.job(bad, 2, source=name, suspend=False, admission="waiting", namespace="bad", parallelism=0)
    async with leading(queue_of(cluster, limit=16)) as task:
        for name in SOURCES:
            await asyncio.sleep(7)
            job, made = cluster.job(good, source=name, namespace="good"), at()
            await until(lambda job=job: holds(cluster.objects[cluster.ref(job)]), within_s=10)
            assert at() - made < 1
            cluster.finish(job)
        assert not task.done()


def entry():
    return recorded()["checkedSources"]["app"]
