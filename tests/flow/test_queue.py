"""The queue: never more than the limit, oldest first, a place kept while an outcome is unknown, waiting that ends."""

import asyncio
from contextlib import asynccontextmanager

from git_events_runner.errors import ApiError, ApiUnavailable, FenceLost, SecretUnusable
from git_events_runner.flow.jobs.queue import Queue
from git_events_runner.resources.job import KUEUE_LABEL
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.labels import label
from git_events_runner.wiring.live_triggers import LiveTriggers
from tests.flow.virtual import at, until, virtual
from tests.flow.world import B, Cluster, Fence, deletions_of, recorded, tracking_of

REF = Ref("WebhookTrigger", "n", "hook")


class Copies:
    """Notes who got a copy; raises what it is told to."""

    def __init__(self):
        self.made, self.error, self.then = [], None, None

    async def copy_for(self, job, trigger, source):
        if self.error:
            raise self.error
        self.made.append(job["metadata"]["name"])
        if self.then:
            self.then()


def queue_of(cluster, *, limit=2, waiting_s=300, start_s=600, share=0, deletions=None):
    cluster.copies, cluster.limit, cluster.weights = Copies(), limit, {}
    cluster.deletions = deletions or deletions_of(cluster)
    return Queue(
        api=cluster,
        list_jobs=lambda: cluster.list(type("K", (), {"name": "Job"})),
        store=cluster.store,
        copies=cluster.copies,
        writer=cluster,
        announcer=cluster,
        gate=cluster.gate,
        limit=lambda: cluster.limit,
        share=lambda: share,
        weight=lambda namespace: cluster.weights.get(namespace, 1),
        waiting_timeout_s=lambda: waiting_s,
        start_timeout_s=lambda: start_s,
        request_timeout_s=5.0,
        deletions=cluster.deletions,
        find_lost=tracking_of(cluster).find_lost,
        trigger_deleted=LiveTriggers(reader=cluster, store=cluster.store).is_deleted,
        metrics=cluster.metrics,
        now=cluster.now,
    )


@asynccontextmanager
async def leading(queue, fence=None):
    """The queue of a leader."""
    task = asyncio.ensure_future(queue.run_as_leader(fence or Fence()))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def sources(count):
    return [f"s{number}" for number in range(count)]


def world(count=0, *, status=None, **annotations):
    """A trigger with `count` waiting Jobs, each of a source of its own, the first one oldest."""
    cluster, names = Cluster(), sources(count)
    status = status or {"checkedSources": {name: recorded()["checkedSources"]["app"] for name in names}}
    trigger = cluster.trigger(names=names or ["app"], status=status)
    jobs = [cluster.job(trigger, source=name, age_s=place, **annotations) for place, name in enumerate(names)]
    return cluster, trigger, jobs


def running(cluster):
    jobs = (job for ref, job in cluster.objects.items() if ref.kind == "Job")
    return [job["metadata"]["name"] for job in jobs if not job["spec"]["suspend"] and not job.get("status")]


def names(jobs):
    return [job["metadata"]["name"] for job in jobs]


@virtual
async def test_the_oldest_jobs_run_never_more_than_the_limit():
    """Each end lets the next one in."""
    cluster, _, jobs = world(5)
    async with leading(queue_of(cluster)):
        for done in range(4):
            await until(lambda done=done: set(running(cluster)) == set(names(jobs[done : done + 2])))
            cluster.finish(jobs[done])
        await until(lambda: running(cluster) == names(jobs[4:]))


@virtual
async def test_a_job_that_is_ending_or_being_deleted_holds_no_place():
    """A dead node leaves Jobs so for ever."""
    cluster, _, jobs = world(3)
    async with leading(queue_of(cluster, limit=1)):
        await until(lambda: running(cluster) == names(jobs[:1]))
        cluster.change(cluster.ref(jobs[0]), status={"conditions": [{"type": "FailureTarget", "status": "True"}]})
        await until(lambda: running(cluster) == names(jobs[1:2]))
        deleting = dict(cluster.objects[cluster.ref(jobs[1])]["metadata"], deletionTimestamp="2026-05-06T07:00:00Z")
        cluster.change(cluster.ref(jobs[1]), metadata=deleting)
        await until(lambda: names(jobs[2:])[0] in running(cluster))


@virtual
async def test_a_former_leader_reports_an_empty_queue():
    """The alert QueueStuck is about each replica: the last numbers of a former leader would fire it for ever."""
    cluster, _, _ = world(3)
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        await until(lambda: cluster.series("jobs_queue_waiting ") == 2)
        assert cluster.series("jobs_queue_running ") == 1
    assert cluster.series("jobs_queue_waiting ") == cluster.series("jobs_queue_running ") == 0


@virtual
async def test_only_a_leader_gives_places():
    """Whatever another replica makes starts suspended."""
    cluster, _, _ = world()
    queue = queue_of(cluster)
    assert not queue.acquire_slot(Ref("Job", "n", "new"))
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(Ref("Job", "n", "new"))
    assert not queue.acquire_slot(Ref("Job", "n", "other"))


@virtual
async def test_nobody_starts_while_an_older_job_waits():
    """Also when a place is free this moment."""
    cluster, trigger, _ = world()
    queue = queue_of(cluster, limit=2)
    async with leading(queue):
        await asyncio.sleep(0.1)
        cluster.faults = [("before", ApiError("not now"))] * 3
        cluster.job(trigger)
        assert not queue.acquire_slot(Ref("Job", "n", "new"))


@virtual
async def test_a_taken_place_counts_before_its_job_is_there():
    """Two creations at once cannot both have the last place; one that failed gives it back."""
    cluster, _, _ = world()
    queue = queue_of(cluster, limit=1)
    first, second = Ref("Job", "n", "first"), Ref("Job", "n", "second")
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(first)
        assert not queue.acquire_slot(second)
        queue.release(first)
        assert queue.acquire_slot(second)


@virtual
async def test_an_unknown_outcome_keeps_the_place_until_it_is_looked_up():
    """After the request's deadline, by a live read: the Job may have been let in."""
    cluster, _, jobs = world(2)
    cluster.lagging.add("Job")
    cluster.faults = [("after", ApiUnavailable("lost"))]
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(14)
        assert running(cluster) == names(jobs[:1])
        assert cluster.made("get", "Job") == []
        await until(lambda: cluster.made("get", "Job"), within_s=3)
        await asyncio.sleep(5)
        assert running(cluster) == names(jobs[:1])


@virtual
async def test_a_lost_admission_is_tried_again_after_the_look():
    """The request never arrived: the place is free again, and the Job's turn comes."""
    cluster, _, jobs = world(1)
    cluster.faults = [("before", ApiUnavailable("lost"))]
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(10)
        assert running(cluster) == []
        await until(lambda: running(cluster) == names(jobs), within_s=10)


@virtual
async def test_a_place_survives_a_change_of_leadership():
    """A creation of the last term may still arrive."""
    cluster, _, _ = world()
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        await asyncio.sleep(0.1)
        assert queue.acquire_slot(Ref("Job", "n", "unknown"))
    async with leading(queue):
        await asyncio.sleep(1)
        assert not queue.acquire_slot(Ref("Job", "n", "new"))
        await asyncio.sleep(70)
        assert queue.acquire_slot(Ref("Job", "n", "new"))


@virtual
async def test_a_new_leader_lists_the_jobs_before_it_admits():
    """Its cache may not know yet what its predecessor let in."""
    cluster, trigger, _ = world()
    cluster.lagging.add("Job")
    cluster.job(trigger, suspend=False)
    waiting = cluster.job(trigger, 2, age_s=5)
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        assert not queue.acquire_slot(Ref("Job", "n", "new"))
        await asyncio.sleep(2)
        assert cluster.calls[0][:2] == ("list", "Job")
        assert cluster.objects[cluster.ref(waiting)]["spec"]["suspend"]


@virtual
async def test_kueues_jobs_are_kueues():
    """Neither admitted nor expired by us; they do hold a place while they run."""
    cluster, trigger, _ = world()
    theirs = cluster.job(trigger, labels={KUEUE_LABEL: "team"})
    ours = cluster.job(trigger, 2, age_s=1)
    async with leading(queue_of(cluster, limit=1, waiting_s=10)):
        await until(lambda: running(cluster) == names([ours]))
        await asyncio.sleep(100)
    assert cluster.objects[cluster.ref(theirs)]["spec"]["suspend"]


@virtual
async def test_a_job_of_the_original_counts():
    """It has no run of ours: it holds its place until it ends, and is never touched."""
    cluster, trigger, _ = world()
    old = cluster.legacy_job(trigger)
    ours = cluster.job(trigger)
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(5)
        assert running(cluster) == names([old])
        cluster.finish(old)
        await until(lambda: running(cluster) == names([ours]))
    assert not [call for call in cluster.calls if call[1] == cluster.ref(old) and call[0] != "get"]


@virtual
async def test_a_job_that_waited_too_long_is_removed_unrun():
    """From when this leader first saw it; condition, Event, metric; with preconditions; the queue says so before."""
    cluster, _, jobs = world(2, reason="fire-always")
    queue = queue_of(cluster, limit=1, waiting_s=60)
    async with leading(queue):
        await asyncio.sleep(59)
        assert len(running(cluster)) == 1
        assert cluster.made("delete") == []
        await until(lambda: cluster.made("delete"), within_s=5)
        await asyncio.sleep(0.1)
    [(_, ref, _, options)] = cluster.made("delete")
    assert ref == cluster.ref(jobs[1])
    assert options["uid"] == jobs[1]["metadata"]["uid"]
    assert options["resource_version"] == jobs[1]["metadata"]["resourceVersion"]
    assert options["timeout_s"] == 5.0
    assert cluster.deletions.phase_of(jobs[1]["metadata"]["uid"]) == "Expired"
    assert cluster.reasons == ["Expired"]
    ready = {c["type"]: c["reason"] for c in cluster.objects[REF]["status"]["conditions"]}
    assert ready["Ready"] == "Expired"
    assert cluster.series("jobs_queue_completed_count_total{") == 1


@virtual
async def test_waiting_time_starts_anew_with_a_term():
    """Time in which nobody admitted does not count, and the new leader admits before it removes."""
    cluster, _, jobs = world(1)
    queue = queue_of(cluster, limit=1, waiting_s=60)
    await asyncio.sleep(1000)
    async with leading(queue):
        await until(lambda: running(cluster) == names(jobs), within_s=1)
    assert cluster.made("delete") == []


@virtual
async def test_a_limit_of_zero_waits_for_ever_and_an_unsettled_job_is_never_removed():
    """The second would let the same run be made again."""
    cluster, trigger, _ = world(status={"checkedSources": {"app": recorded(runs=1)["checkedSources"]["app"]}})
    blocker = cluster.job(trigger, 1, suspend=False)
    cluster.job(trigger, 2, age_s=1, waiting_timeout_seconds="0")
    cluster.job(trigger, 3, age_s=2, waiting_timeout_seconds="10", reason="fire-always")
    async with leading(queue_of(cluster, limit=1)):
        await asyncio.sleep(5000)
        assert cluster.made("delete") == []
        cluster.change(REF, status=recorded(runs=3, commit=B))
        await until(lambda: cluster.made("delete"), within_s=15)
    assert len(cluster.made("delete")) == 1
    assert cluster.ref(blocker) in cluster.objects


@virtual
async def test_a_trigger_with_a_long_name_is_found_live():
    """The label is cut, the annotation is whole: a cache that lags deletes no Job of such a trigger."""
    cluster, name = Cluster(), "t" * 80
    cluster.surroundings()
    cluster.lagging.add("WebhookTrigger")
    trigger = cluster.trigger(name=name, status=recorded())
    cluster.job(trigger, labels={"git-events-runner.rs/trigger-name": label(name)}, trigger_name=name)
    [job] = cluster.store.all("Job")
    assert not await LiveTriggers(reader=cluster, store=cluster.store).is_deleted(job)
    cluster.drop(Ref("WebhookTrigger", "n", name))
    assert await LiveTriggers(reader=cluster, store=cluster.store).is_deleted(job)


@virtual
async def test_a_job_whose_trigger_is_gone_is_deleted_instead_of_admitted():
    """By the live API server: a cache that does not know the trigger yet deletes nothing."""
    cluster, trigger, _ = world()
    cluster.drop(REF)
    orphan = cluster.job(trigger)
    cluster.lagging.add("WebhookTrigger")
    fresh = cluster.job(cluster.trigger(name="new"), age_s=1)
    async with leading(queue_of(cluster)):
        await until(lambda: cluster.ref(orphan) not in cluster.objects)
        await until(lambda: running(cluster) == names([fresh]))
    assert len(cluster.made("delete")) == 1


@virtual
async def test_a_secret_is_copied_before_its_job_runs():
    """What cannot be copied is said, and keeps no place; a trigger that became invalid ends nothing."""
    cluster, trigger, _ = world(status=recorded())
    needy = cluster.job(trigger, needs_secret="yes")
    other = cluster.job(trigger, 2, age_s=1)
    queue = queue_of(cluster, limit=1)
    cluster.copies.error = SecretUnusable("Secret vault/x does not exist")
    async with leading(queue):
        await until(lambda: cluster.reasons)
        await until(lambda: running(cluster) == names([other]))
        cluster.finish(other)
        cluster.change(REF, spec={"sources": 5})
        cluster.copies.error = None
        await until(lambda: "InvalidSpec" in cluster.reasons)
        cluster.change(REF, spec={"sources": {"names": ["app"]}})
        await until(lambda: running(cluster) == names([needy]))
        assert cluster.copies.made == names([needy])


@virtual
async def test_jobs_that_cannot_start_keep_nobody_out():
    """A Secret that is missing, a trigger nobody can find: hundreds of such Jobs, older than the others, for ever."""
    cluster, trigger, _ = world()
    for number in range(150):
        cluster.job(trigger, number + 1, needs_secret="yes", waiting_timeout_seconds="0")
        cluster.job({"kind": "Other", "metadata": {"name": "x", "uid": "none"}}, number + 1)
    good = [cluster.job(trigger, 1000 + number, age_s=1 + number) for number in range(2)]
    queue = queue_of(cluster, limit=2)
    cluster.copies.error = SecretUnusable("Secret vault/x does not exist")
    async with leading(queue):
        await until(lambda: set(running(cluster)) == set(names(good)), within_s=60)
        cluster.finish(good[0])
        await until(lambda: queue.acquire_slot(Ref("Job", "n", "new")), within_s=60)
        queue.release(Ref("Job", "n", "new"))
        before = len(cluster.told)
        await asyncio.sleep(600)
        assert len(cluster.told) - before < 150 * 15
        cluster.copies.error = None
        await until(lambda: len(running(cluster)) == 2, within_s=61)


@virtual
async def test_a_storm_of_jobs_is_looked_at_in_few_passes():
    """Each looks at all Jobs of the installation."""
    cluster, trigger, _ = world()
    queue = queue_of(cluster)
    async with leading(queue):
        await asyncio.sleep(1)
        passes = []
        queue.show = lambda: passes.append(at())
        for number in range(300):
            cluster.job(trigger, number + 1)
            await asyncio.sleep(0.001)
    assert len(passes) < 30


@virtual
async def test_leadership_lost_while_a_secret_was_copied_admits_nothing():
    """The fence is asked again just before the write."""
    cluster, trigger, _ = world()
    cluster.job(trigger, needs_secret="yes")
    fence, queue = Fence(), queue_of(cluster)
    cluster.copies.then = lambda: setattr(fence, "lost", True)
    async with leading(queue, fence) as task:
        await asyncio.wait({task}, timeout=10)
        assert isinstance(task.exception(), FenceLost)
    assert running(cluster) == []
    assert not queue.acquire_slot(Ref("Job", "n", "new"))


@virtual
async def test_admissions_carry_the_leaders_deadline():
    """Lease duration less renew deadline: a deposed leader's slow request cannot land after its successor's."""
    cluster, _, _ = world(1)
    async with leading(queue_of(cluster)):
        await until(lambda: cluster.made("patch"))
    [(_, _, body, options)] = cluster.made("patch")
    assert options == {"timeout_s": 5.0}
    assert body[1] == {"op": "test", "path": "/spec/suspend", "value": True}
    assert at() < 1


def tenant(cluster, namespace, *, name="hook", names=("app",), status=None):
    """A trigger in a namespace of its own."""
    body = {
        "sources": {"names": list(names)},
        "action": {"kind": "Action", "name": "build"},
        "webhook": {"multiSource": True},
    }
    obj = {"kind": "WebhookTrigger", "metadata": {"name": name, "namespace": namespace}, "spec": body}
    return cluster.put(obj | {"status": status or recorded()})


@virtual
async def test_jobs_that_are_no_runs_hold_no_slot_and_get_no_secret():
    """Of another namespace's trigger, with a number too high, without pods, of triggers that never were."""
    cluster, trigger, _ = world(status=recorded())
    evil = tenant(cluster, "evil")
    for number in range(1, 20):
        cluster.job(trigger, number, suspend=False, namespace="evil")
        cluster.job(evil, number + 5, suspend=False, namespace="evil")
        nobody = {"kind": "WebhookTrigger", "metadata": {"name": "never", "uid": "none"}}
        cluster.job(nobody, number, suspend=False, namespace="evil")
    cluster.job(evil, suspend=False, namespace="evil", parallelism=0)
    stolen = cluster.job(trigger, namespace="evil", needs_secret="copy")
    mine = [cluster.job(trigger, number, age_s=5) for number in (1, 2)]
    queue = queue_of(cluster, limit=2, share=2)
    async with leading(queue):
        await until(lambda: set(names(mine)) <= set(running(cluster)))
        await asyncio.sleep(100)
    assert cluster.objects[cluster.ref(stolen)]["spec"]["suspend"]
    assert (cluster.copies.made, cluster.told, cluster.made("delete")) == ([], [], [])
    assert "forged" not in cluster.metrics.render().decode()


@virtual
async def test_a_run_keeps_its_slot_when_its_trigger_is_deleted():
    """Otherwise a tenant could start Jobs without end by making triggers and deleting them."""
    cluster, trigger, _ = world(status=recorded())
    job = cluster.job(trigger, suspend=False)
    other = cluster.trigger(name="other", status=recorded())
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        await asyncio.sleep(1)
        cluster.drop(REF)
        cluster.job(other, age_s=1)
        await asyncio.sleep(10)
        assert running(cluster) == names([job])
        cluster.finish(job)
        await until(lambda: len(running(cluster)) == 1)


@virtual
async def test_namespaces_take_turns():
    """Forty old Jobs of one namespace, a new one of another: it is next, and a quarter of the slots is kept for it."""
    cluster, trigger, _ = world(status=recorded(runs=9))
    evil = tenant(cluster, "evil", names=sources(40), status={})
    for place, name in enumerate(sources(40)):
        cluster.job(evil, source=name, age_s=place - 100, namespace="evil")
    queue = queue_of(cluster, limit=4)
    async with leading(queue):
        await until(lambda: len(running(cluster)) == 3)
        await asyncio.sleep(30)
        assert len(running(cluster)) == 3
        mine = [cluster.job(trigger, number, age_s=50 + number) for number in (1, 2)]
        await until(lambda: names(mine)[0] in running(cluster), within_s=1)
        assert names(mine)[1] not in running(cluster)
        assert not queue.acquire_slot(Ref("Job", "evil", "new"))
        for job in [job for job in cluster.objects.values() if job["metadata"]["name"] in running(cluster)][:1]:
            cluster.finish(job)
        await until(lambda: names(mine)[1] in running(cluster), within_s=1)


@virtual
async def test_one_namespace_alone_may_hold_every_slot():
    """As before, and as `maxRunningJobsPerNamespace` says where it is set."""
    for share, expected in ((0, 4), (2, 2)):
        cluster, _, _ = world(6)
        async with leading(queue_of(cluster, limit=4, share=share)):
            await until(lambda cluster=cluster, expected=expected: len(running(cluster)) == expected)
            await asyncio.sleep(5)
            assert len(running(cluster)) == expected


@virtual
async def test_orphans_are_deleted_a_few_at_a_time():
    """However many Jobs of no trigger somebody makes: each pass asks for four of them."""
    cluster, trigger, _ = world(status=recorded())
    gone = {"kind": "WebhookTrigger", "metadata": {"name": "gone", "uid": "none"}}
    for number in range(40):
        cluster.job(gone, number + 1)
    mine = cluster.job(trigger, age_s=5)
    async with leading(queue_of(cluster)):
        await until(lambda: running(cluster) == names([mine]), within_s=1)
        await asyncio.sleep(2)
        assert len(cluster.made("delete")) <= 16
        await until(lambda: len(cluster.made("delete")) == 40, within_s=20)
