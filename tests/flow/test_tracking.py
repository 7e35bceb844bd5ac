"""Runs that leave the watch before they ended: deleted only if a live read says so, their labels put back if not."""

import asyncio
import copy
from contextlib import asynccontextmanager

import pytest

from git_events_runner.edges.kube.doubtful_jobs import DoubtfulJobs
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiForbidden, ApiInvalid, ApiUnavailable
from git_events_runner.resources.ref import Ref
from tests.flow.busy import reading_slowly
from tests.flow.test_queue import leading, queue_of, running
from tests.flow.test_results import results_of
from tests.flow.virtual import at, until, virtual
from tests.flow.world import Cluster, Fence, recorded, tracking_of

REF = Ref("WebhookTrigger", "n", "hook")
PREFIX = "git-events-runner.rs/"
SELECTED = f"{PREFIX}trigger-kind"


def labels_of(obj):
    return (obj["metadata"].get("labels") or {}) if obj else {}


class Selecting(Cluster):
    """Its watch of Jobs selects by a label: an object that loses the label is shown as deleted, as it was before."""

    def __init__(self):
        super().__init__(store=Store(doubts=DoubtfulJobs()))
        self.doubts = self.store.doubts

    def put(self, obj):
        if obj["kind"] != "Job" or SELECTED in labels_of(obj):
            return super().put(obj)
        before = self.objects.get(self.ref(obj))
        self.lagging.add("Job")
        made = super().put(obj)
        self.lagging.discard("Job")
        if SELECTED in labels_of(before):
            shown = copy.deepcopy(before)
            shown["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
            self._writers["Job"].remove(shown)
        return made

    def without(self, ref, *names):
        """Remove labels of a Job by hand."""
        obj = copy.deepcopy(self.objects[ref])
        for name in names:
            del obj["metadata"]["labels"][PREFIX + name]
        return self.put(obj)

    def gets(self, ref):
        return sum(call[:2] == ("get", ref) for call in self.calls)


@asynccontextmanager
async def replica(cluster, *, leads=True, fence=None, **options):
    """Tracking, queue and results of a replica."""
    tracking, fence = tracking_of(cluster), fence or Fence()
    queue = queue_of(cluster, **options)
    results = results_of(cluster, cluster.deletions.phase_of, tracking)
    tasks = [asyncio.ensure_future(tracking.run())]
    if leads:
        tasks += [asyncio.ensure_future(part.run_as_leader(fence)) for part in (tracking, results)]
    try:
        if leads:
            async with leading(queue, fence):
                await asyncio.sleep(0.1)
                yield queue
        else:
            yield None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def world(*, ttl="7200", cluster=None):
    """A trigger whose run 1 runs and is recorded."""
    cluster = cluster or Selecting()
    trigger = cluster.trigger(status=recorded(runs=1))
    labels = {f"{PREFIX}source-name": "app", f"{PREFIX}controller-identity": "replica-0"}
    job = cluster.job(trigger, suspend=False, ttl_seconds_after_finished=ttl, labels=labels)
    last = {"name": job["metadata"]["name"], "phase": "Running"}
    cluster.change(REF, status=recorded(runs=1, lastJob=last) | {"state": "Running"})
    return cluster, trigger, cluster.ref(job)


def phase(cluster):
    status = cluster.objects[REF]["status"]
    return status.get("state"), status["checkedSources"]["app"]["lastJob"]["phase"]


@virtual
async def test_a_label_that_is_removed_from_a_running_job_is_put_back():
    """No Event says that it was deleted, its slot stays taken, and it gets its TTL."""
    cluster, _, ref = world()
    before = labels_of(cluster.objects[ref])
    async with replica(cluster, limit=1) as queue:
        cluster.without(ref, "trigger-kind")
        assert not queue.acquire_slot(Ref("Job", "n", "other"))
        await until(lambda: labels_of(cluster.objects[ref]) == before, within_s=2)
        assert not queue.acquire_slot(Ref("Job", "n", "other"))
        await asyncio.sleep(60)
        assert len(cluster.doubts) == 0
    assert phase(cluster) == ("Running", "Running")
    assert [(ref.kind, reason) for ref, reason, _ in cluster.told] == [
        ("WebhookTrigger", "JobRelabelled"),
        ("Job", "JobRelabelled"),
    ]
    assert "trigger-kind" in cluster.told[0][2]
    assert cluster.objects[ref]["spec"]["ttlSecondsAfterFinished"] == 7200


@virtual
@pytest.mark.parametrize("names", [["trigger-name"], ["source-name"], ["trigger-kind", "trigger-name"]])
async def test_any_tracking_label_is_put_back(names):
    """Also those that the watch does not select by."""
    cluster, _, ref = world()
    before = labels_of(cluster.objects[ref])
    async with replica(cluster, limit=1) as queue:
        cluster.without(ref, *names)
        assert not queue.acquire_slot(Ref("Job", "n", "other"))
        await until(lambda: labels_of(cluster.objects[ref]) == before, within_s=2)
        await asyncio.sleep(60)
    assert phase(cluster) == ("Running", "Running")
    assert set(cluster.reasons) == {"JobRelabelled"}


@virtual
async def test_a_job_that_lost_every_label_and_annotation_is_put_back():
    """Its uid proves that it is the one that was seen."""
    cluster, _, ref = world()
    obj = copy.deepcopy(cluster.objects[ref])
    run = obj["metadata"]["annotations"][f"{PREFIX}run"]
    del obj["metadata"]["labels"], obj["metadata"]["annotations"]
    async with replica(cluster):
        cluster.put(obj)
        await until(lambda: SELECTED in labels_of(cluster.objects[ref]), within_s=2)
    assert cluster.objects[ref]["metadata"]["annotations"][f"{PREFIX}run"] == run


@virtual
async def test_the_end_of_a_job_without_labels_is_reported():
    """While nothing can put them back: what the live read shows of it counts."""
    cluster, _, ref = world()
    patch = cluster.patch

    async def refused(ref, body, **options):
        if any("labels" in one["path"] for one in body):
            raise ApiForbidden("no role")
        return await patch(ref, body, **options)

    cluster.patch = refused
    async with replica(cluster):
        cluster.without(ref, "trigger-kind")
        await asyncio.sleep(30)
        assert phase(cluster) == ("Running", "Running")
        cluster.finish(cluster.objects[ref])
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"), within_s=15)
        cluster.objects.pop(ref)
        await until(lambda: cluster.store.get(ref) is None, within_s=15)
        await asyncio.sleep(60)
        assert len(cluster.doubts) == 0
    assert cluster.reasons == ["JobSucceeded"]
    assert phase(cluster) == ("Idle", "Succeeded")


@virtual
async def test_a_job_that_was_deleted_is_concluded_after_one_live_read():
    """By a person: as before, one request later."""
    cluster, _, ref = world()
    async with replica(cluster, limit=1) as queue:
        cluster.drop(ref)
        await until(lambda: phase(cluster) == ("Idle", "Deleted"), within_s=2)
        assert queue.acquire_slot(Ref("Job", "n", "other"))
        assert cluster.gets(ref) == 1
    assert cluster.reasons == ["JobCancelled"]


@virtual
async def test_a_job_that_ended_and_was_deleted_by_its_ttl_costs_no_request():
    """Nothing depends on it any more."""
    cluster, _, ref = world()
    async with replica(cluster):
        await asyncio.sleep(30)  # it has its TTL
        cluster.finish(cluster.objects[ref])
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"))
        cluster.drop(ref)
        await asyncio.sleep(30)
    assert cluster.gets(ref) == 0


@virtual
async def test_nothing_is_concluded_while_the_api_server_does_not_answer():
    """The slot stays taken, and the phase as it is."""
    cluster, _, ref = world()
    get, away = cluster.get, [True]

    async def unavailable(ref, **options):
        if away[0] and ref.kind == "Job":
            raise ApiUnavailable("away")
        return await get(ref, **options)

    cluster.get = unavailable
    async with replica(cluster, limit=1) as queue:
        cluster.drop(ref)
        await asyncio.sleep(300)
        assert not queue.acquire_slot(Ref("Job", "n", "other"))
        assert (phase(cluster), cluster.reasons) == (("Running", "Running"), [])
        away[0] = False
        await until(lambda: phase(cluster) == ("Idle", "Deleted"), within_s=40)


@virtual
async def test_a_namespace_that_was_deleted_holds_no_slot():
    """Its roles are deleted with it, so that the live read is refused for ever."""
    cluster, _, ref = world()
    get = cluster.get

    async def refused(ref, **options):
        if ref.kind == "Job":
            raise ApiForbidden("no role")
        return await get(ref, **options)

    cluster.get = refused
    async with replica(cluster, limit=1) as queue:  # no Namespace object is there
        cluster.drop(ref)
        await until(lambda: queue.acquire_slot(Ref("Job", "n", "other")), within_s=5)


@virtual
async def test_a_list_that_lacks_a_running_job_proves_nothing():
    """The label was removed while the watch was cut; the next list does not select the Job."""
    cluster, _, ref = world()
    before = labels_of(cluster.objects[ref])
    async with replica(cluster, limit=1) as queue:
        cluster.lagging.add("Job")
        cluster.without(ref, "trigger-kind")
        cluster.lagging.discard("Job")
        cluster._writers["Job"].replace([], version=str(cluster.version))
        assert not queue.acquire_slot(Ref("Job", "n", "other"))
        await until(lambda: labels_of(cluster.objects[ref]) == before, within_s=2)
        await asyncio.sleep(30)
    assert set(cluster.reasons) == {"JobRelabelled"}


@virtual
async def test_a_follower_reads_and_writes_nothing():
    """It keeps the Job; the leader puts the labels back, and then the watch shows it again."""
    cluster, _, ref = world()
    async with replica(cluster, leads=False):
        cluster.without(ref, "trigger-kind")
        await asyncio.sleep(60)
        assert cluster.store.get(ref) is not None
        assert cluster.made("patch") == []
        assert 5 <= cluster.gets(ref) <= 10
        cluster.change(ref)  # nothing of it is seen
        obj = copy.deepcopy(cluster.objects[ref])
        obj["metadata"]["labels"][SELECTED] = "WebhookTrigger"
        cluster.put(obj)
        reads = cluster.gets(ref)
        await asyncio.sleep(60)
        assert cluster.gets(ref) == reads


@virtual
async def test_a_leader_whose_fence_is_lost_puts_nothing_back():
    """It belongs to the next one."""
    cluster, _, ref = world()
    fence = Fence()
    async with replica(cluster, leads=False):
        tracking = tracking_of(cluster)
        tasks = [asyncio.ensure_future(tracking.run_as_leader(fence)), asyncio.ensure_future(tracking.run())]
        await asyncio.sleep(0.1)
        fence.lost = True
        cluster.without(ref, "trigger-kind")
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert cluster.made("patch") == []


@virtual
async def test_a_label_that_is_removed_again_and_again_is_put_back_more_and_more_rarely():
    """Another controller removes it: the two do not write without end."""
    cluster, _, ref = world()
    written = []
    async with replica(cluster, limit=1) as queue:
        for _ in range(3600):
            if SELECTED in labels_of(cluster.objects[ref]):
                written.append(at())
                cluster.without(ref, "trigger-kind")
            await asyncio.sleep(1)
            assert not queue.acquire_slot(Ref("Job", "n", "other"))
    assert 5 <= len(written) <= 15
    assert phase(cluster) == ("Running", "Running")


@virtual
async def test_a_job_without_labels_that_no_cache_knows_is_found_by_its_record():
    """All replicas started again meanwhile: the status names it, its annotations prove that it is the run."""
    cluster, _, ref = world()
    before = {name: labels_of(cluster.objects[ref])[PREFIX + name] for name in ("trigger-kind", "trigger-name")}
    cluster.without(ref, "trigger-kind", "trigger-name")
    cluster.store._drop(cluster.store.get(ref))  # never seen: a new process; its tombstone must not hide it
    async with replica(cluster, limit=1) as queue:
        assert not queue.acquire_slot(Ref("Job", "n", "other"))  # before anything is admitted
        await until(lambda: SELECTED in labels_of(cluster.objects[ref]), within_s=30)
        await asyncio.sleep(30)
    found = labels_of(cluster.objects[ref])
    assert {name: found[PREFIX + name] for name in before} == before
    assert phase(cluster) == ("Running", "Running")
    assert set(cluster.reasons) == {"JobRelabelled"}


@virtual
async def test_a_job_whose_name_alone_was_lost_is_found_by_its_record():
    """It is in the watch, but no replica that runs now has seen it with its labels."""
    cluster, _, ref = world()
    obj = copy.deepcopy(cluster.objects[ref])
    del obj["metadata"]["labels"][f"{PREFIX}trigger-name"]
    cluster.store._drop(cluster.store.get(ref))
    cluster.store._deleted._at.clear()
    cluster.put(obj)
    assert cluster.store.get(ref).model.run is None
    async with replica(cluster, limit=1) as queue:
        assert not queue.acquire_slot(Ref("Job", "n", "other"))
        await until(lambda: f"{PREFIX}trigger-name" in labels_of(cluster.objects[ref]), within_s=30)
    assert set(cluster.reasons) == {"JobRelabelled"}


@virtual
async def test_a_foreign_object_under_the_name_of_a_lost_job_is_left_as_it_is():
    """Nothing proves that it is the run: the run's Job was deleted."""
    cluster, _, ref = world()
    cluster.objects.pop(ref)
    cluster.store._drop(cluster.store.get(ref))
    cluster.put({"kind": "Job", "metadata": {"name": ref.name, "namespace": "n", "labels": {}}, "spec": {}})
    async with replica(cluster):
        await until(lambda: phase(cluster) == ("Idle", "Gone"), within_s=40)
    assert cluster.made("patch", "Job") == []


@virtual
async def test_jobs_of_others_cost_no_read_when_they_leave_the_watch():
    """A Job with our label that is no run."""
    cluster, _, _ = world()
    metadata = {"name": "theirs", "namespace": "n", "labels": {SELECTED: "WebhookTrigger"}}
    theirs = cluster.ref(cluster.put({"kind": "Job", "metadata": metadata, "spec": {}}))
    async with replica(cluster):
        cluster.drop(theirs)
        await asyncio.sleep(30)
    assert cluster.gets(theirs) == 0


@virtual
async def test_many_jobs_that_are_deleted_together_are_concluded_side_by_side():
    """Namespaces in turn; a slow API server delays the first conclusions by no more than one request."""
    cluster, trigger, _ = world()
    jobs = [cluster.ref(cluster.job(trigger, number, suspend=False)) for number in range(2, 202)]
    cluster.change(REF, status=recorded(runs=201))
    async with replica(cluster, limit=300):
        for ref in jobs:
            cluster.drop(ref)
        await until(lambda: not any(cluster.store.get(ref) for ref in jobs), within_s=2)


@virtual
async def test_a_label_that_is_put_back_by_its_remover_needs_nothing():
    """The live read finds the Job as it should be."""
    cluster, _, ref = world()
    before = copy.deepcopy(cluster.objects[ref])
    async with replica(cluster):
        cluster.without(ref, "trigger-kind")
        cluster.lagging.add("Job")
        obj = copy.deepcopy(cluster.objects[ref])
        obj["metadata"]["labels"] = before["metadata"]["labels"]
        cluster.put(obj)
        await asyncio.sleep(5)
        assert len(cluster.doubts) == 0
        assert cluster.store.get(ref).version == int(cluster.objects[ref]["metadata"]["resourceVersion"])
    assert cluster.reasons == []


@virtual
async def test_a_restoration_that_is_refused_is_tried_again():
    """The Job changed between read and write."""
    cluster, _, ref = world()
    patch, refusals = cluster.patch, [ApiInvalid("test failed")] * 2

    async def refused(ref, body, **options):
        if refusals and ref.kind == "Job":
            raise refusals.pop()
        return await patch(ref, body, **options)

    cluster.patch = refused
    async with replica(cluster):
        cluster.without(ref, "trigger-kind")
        await until(lambda: SELECTED in labels_of(cluster.objects[ref]), within_s=30)
    assert refusals == []


@virtual
async def test_running_counts_a_job_in_doubt():
    """No second Job starts while it is read."""
    cluster, trigger, ref = world()
    waiting = cluster.job(trigger, 2, age_s=5)
    cluster.latency_s = 5
    async with replica(cluster, limit=1):
        cluster.without(ref, "trigger-kind")
        await asyncio.sleep(60)
        assert running(cluster) == [ref.name]
        cluster.finish(cluster.objects[ref])
        await until(lambda: waiting["metadata"]["name"] in running(cluster), within_s=60)


def test_a_run_that_is_recorded_while_a_leader_reads_all_statuses_is_found(monkeypatch):
    """Others work between two of them: each status is read as it is when its turn comes."""

    @virtual
    async def check():
        cluster = Selecting()
        for number in range(3):
            cluster.trigger("ScheduleTrigger", f"t{number}")
        trigger = cluster.trigger(status=recorded(runs=1))
        cluster.lagging.add("Job")
        job = cluster.job(trigger, suspend=False)
        cluster.lagging.discard("Job")
        reading_slowly(monkeypatch, cluster)
        finding = asyncio.ensure_future(tracking_of(cluster).find_lost())
        for _ in range(3):
            await asyncio.sleep(0)
        last = {"name": job["metadata"]["name"], "phase": "Running"}
        cluster.change(REF, status=recorded(runs=1, lastJob=last))
        assert cluster.store.get(cluster.ref(job)) is None
        await finding
        assert cluster.store.get(cluster.ref(job)) is not None

    check()


@virtual
async def test_a_job_that_is_deleted_while_it_is_read_is_not_kept():
    """Somebody put its label back, and the answer that shows it comes after the deletion."""
    cluster, _, ref = world()
    get = cluster.get

    async def slow(read, **options):
        found = await get(read, **options)
        await asyncio.sleep(0.5)
        return found

    whole = copy.deepcopy(cluster.objects[ref])
    async with replica(cluster, leads=False):
        cluster.get = slow
        cluster.without(ref, "trigger-kind")
        whole["metadata"]["resourceVersion"] = cluster.objects[ref]["metadata"]["resourceVersion"]
        cluster.objects[ref] = whole  # its event comes after the read
        await asyncio.sleep(0.1)
        cluster.put(whole)
        cluster.drop(ref)
        await until(lambda: cluster.store.get(ref) is None, within_s=5)
        assert cluster.gets(ref) == 2
