"""What became of the Jobs: phases and state, TTLs, runs settled by the sweep, cancellations told from ends."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiForbidden, ApiUnavailable
from git_events_runner.flow.jobs.results import JobEvents, JobLog, JobMetrics, Results
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.wiring.live_triggers import LiveTriggers
from tests.flow.virtual import until, virtual
from tests.flow.world import A, Cluster, Fence, NoMessages, ended, recorded, tracking_of

REF = Ref("WebhookTrigger", "n", "hook")


class Recorded:
    """An observer that keeps what happened: the name of each event, and its Job's source."""

    def __init__(self):
        self.events = []

    def observe(self, event):
        self.events.append(event)

    @property
    def names(self):
        return [type(event).__name__ for event in self.events]


def results_of(cluster, deleted_as, tracking=None, observers=()):
    """Results on the cluster; `deleted_as` is the last phase of a Job that this process deletes."""
    return Results(
        api=cluster,
        store=cluster.store,
        writer=cluster,
        observers=(JobLog(), JobMetrics(cluster.metrics), JobEvents(cluster), *observers),
        submit=cluster.submit,
        deleted_as=deleted_as,
        job_deleted=(tracking or tracking_of(cluster)).is_deleted,
        trigger_deleted=LiveTriggers(reader=cluster, store=cluster.store).is_deleted,
        most_retries=lambda: 10,
        messages=NoMessages(),
        request_timeout_s=5.0,
        now=cluster.now,
        weight=equal,
    )


@asynccontextmanager
async def following(cluster, fence=None, *observers):
    cluster.deleted_as = {}
    results = results_of(cluster, cluster.deleted_as.get, observers=observers)
    task = asyncio.ensure_future(results.run_as_leader(fence or Fence()))
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def world(*, runs=1, suspend=False, ttl="0", cluster=None):
    """A trigger whose run 1 has a Job."""
    cluster = cluster or Cluster()
    trigger = cluster.trigger(status=recorded(runs=runs))
    job = cluster.job(trigger, suspend=suspend, ttl_seconds_after_finished=ttl)
    if runs:
        last = {"name": job["metadata"]["name"], "phase": "Running"}
        cluster.change(REF, status=recorded(runs=runs, lastJob=last) | {"state": "Running"})
    return cluster, trigger, job


def phase(cluster):
    status = cluster.objects[REF]["status"]
    return status.get("state"), (status["checkedSources"]["app"].get("lastJob") or {}).get("phase")


def ttl(cluster, job):
    return cluster.objects[cluster.ref(job)]["spec"].get("ttlSecondsAfterFinished")


@virtual
async def test_the_end_of_a_job_is_shown_told_and_counted_once():
    """Phase and state in the status, an Event, the metric of the contract."""
    cluster, _, job = world()
    async with following(cluster):
        cluster.finish(job)
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"))
        await asyncio.sleep(60)
    assert cluster.reasons == ["JobSucceeded"]
    assert cluster.series("jobs_queue_completed_count_total{") == 1


@virtual
async def test_an_observer_is_called_once_with_everything_that_happens_to_a_job():
    """A Job that waits, is admitted and fails is reported to every observer as queued, started and ended, once each."""
    seen, cluster = Recorded(), Cluster()
    trigger = cluster.trigger(status=recorded(runs=1))
    async with following(cluster, None, seen):
        job = cluster.job(trigger, suspend=True)
        await until(lambda: seen.names == ["JobQueued"])
        cluster.change(cluster.ref(job), spec={**job["spec"], "suspend": False})
        await until(lambda: seen.names == ["JobQueued", "JobStarted"])
        cluster.finish(job)
        await until(lambda: len(seen.names) == 3)
        await asyncio.sleep(60)
    end = seen.events[-1]
    assert seen.names == ["JobQueued", "JobStarted", "JobEnded"]
    assert (end.result, end.run.trigger, end.run.source, end.run.number) == ("Succeeded", REF, "app", 1)


@virtual
async def test_an_observer_is_called_with_the_reason_why_the_controller_deleted_a_job():
    """The phase with which this process deletes a Job is the result that observers get."""
    seen = Recorded()
    cluster, _, job = world(suspend=True)
    async with following(cluster, None, seen):
        cluster.deleted_as[job["metadata"]["uid"]] = "Superseded"
        cluster.drop(cluster.ref(job))
        await until(lambda: seen.names == ["JobEnded"])
    assert seen.events[0].result == "Superseded"
    assert cluster.reasons == ["Superseded"]


@virtual
async def test_a_failed_run_is_logged_at_warning_with_its_exit_code():
    """With trigger, source, commit, reason and error, so that one line is enough to find it."""
    cluster, _, job = world()
    job["metadata"]["annotations"]["git-events-runner.rs/reason"] = "fire-changed"
    cluster.put(job)
    message = "Container action-worker for pod n/x failed with exit code 3 matching FailJob rule at index 1"
    status = ended("Failed")
    status["conditions"][0] |= {"reason": "PodFailurePolicy", "message": message}
    with capture_logs() as logs:
        async with following(cluster):
            cluster.change(cluster.ref(job), status=status)
            await until(lambda: cluster.reasons == ["JobFailed"])
    [line] = [line for line in logs if line["event"] == "job.finished"]
    assert line == line | {
        "log_level": "warning",
        "kind": "WebhookTrigger",
        "namespace": "n",
        "name": "hook",
        "source": "app",
        "commit": A[:12],
        "reason": "fire-changed",
        "exit_code": 3,
        "error": "container action-worker ended with exit code 3",
    }


@virtual
async def test_a_settled_job_gets_its_ttl_fifteen_seconds_later():
    """Older than any creation still under way: a Job with a TTL cannot vanish and be made twice."""
    cluster, _, job = world(ttl="7200")
    async with following(cluster):
        await asyncio.sleep(14.5)
        assert ttl(cluster, job) is None
        await until(lambda: ttl(cluster, job) == 7200, within_s=4)


@virtual
async def test_an_unsettled_job_gets_no_ttl_and_is_settled_by_the_sweep():
    """Its creator vanished: after ten seconds its trigger's lane is asked, until it is recorded."""
    cluster, trigger, job = world(runs=0)
    async with following(cluster):
        await asyncio.sleep(9)
        assert cluster.asked == []
        await until(lambda: cluster.asked, within_s=4)
        when, request = cluster.asked[0]
        assert 10 <= when < 13
        assert (request.uid, request.source, request.due_at) == (trigger["metadata"]["uid"], "app", None)
        assert request.fence is not None
        await asyncio.sleep(100)
        assert len(cluster.asked) >= 8
        assert ttl(cluster, job) is None
        cluster.change(REF, status=recorded(runs=1))
        count = len(cluster.asked)
        await asyncio.sleep(30)
        assert len(cluster.asked) == count
        assert ttl(cluster, job) == 0


@virtual
async def test_a_copy_of_a_job_is_not_swept():
    """Somebody's Job with our annotation under another name belongs to no run."""
    cluster, _, job = world(runs=0)
    cluster.drop(cluster.ref(job))
    cluster.put(job | {"metadata": job["metadata"] | {"name": "copy", "uid": "other"}})
    async with following(cluster):
        await asyncio.sleep(60)
    assert cluster.asked == []


@virtual
async def test_a_job_deleted_before_it_ended_was_cancelled():
    """An Event, the metric, the phase; no new run."""
    cluster, _, job = world()
    async with following(cluster):
        cluster.drop(cluster.ref(job))
        await until(lambda: phase(cluster) == ("Idle", "Deleted"))
    assert cluster.reasons == ["JobCancelled"]
    assert cluster.asked == []


@virtual
async def test_a_job_that_another_party_suspends_is_shown_and_told_once():
    """The phase has a word of its own; an Event on trigger and Job; no TTL before it ends."""
    cluster, _, job = world(ttl="7200")
    async with following(cluster):
        cluster.change(cluster.ref(job), spec={"suspend": True}, status={"startTime": "2026-05-06T07:00:00Z"})
        await until(lambda: phase(cluster) == ("Running", "Suspended"))
        await asyncio.sleep(100)
        assert cluster.reasons == ["JobSuspended"] * 2
        cluster.change(cluster.ref(job), spec={"suspend": False})
        await until(lambda: phase(cluster) == ("Running", "Running"))
        cluster.drop(cluster.ref(job))
        await until(lambda: phase(cluster) == ("Idle", "Deleted"))


@virtual
async def test_a_suspended_job_that_vanished_while_no_replica_led_is_gone():
    """As with waiting and running ones, its phase does not stand for ever."""
    cluster, _, job = world()
    last = {"name": job["metadata"]["name"], "phase": "Suspended"}
    cluster.change(REF, status=recorded(lastJob=last))
    cluster.drop(cluster.ref(job))
    async with following(cluster):
        await until(lambda: phase(cluster)[1] == "Gone")


@virtual
async def test_a_job_that_came_and_went_between_two_looks_is_told_once():
    """A person was quicker than the leader; what went before this leader's term is not told."""
    cluster, trigger, old = world()
    cluster.drop(cluster.ref(old))
    async with following(cluster):
        quick = cluster.job(trigger, 2, suspend=False)
        cluster.drop(cluster.ref(quick))
        await until(lambda: cluster.reasons)
        cluster.change(REF, status={"deliveries": "x"})
        await asyncio.sleep(5)
    assert cluster.reasons == ["JobCancelled"]


@virtual
async def test_a_job_that_vanished_while_nobody_led_is_shown_as_gone():
    """Nobody knows how it ended, so nothing is told but that; a cache that is behind for a moment changes nothing."""
    cluster, _, job = world()
    cluster.drop(cluster.ref(job))
    async with following(cluster):
        await asyncio.sleep(10)
        assert phase(cluster) == ("Idle", "Running")
        await until(lambda: phase(cluster) == ("Idle", "Gone"), within_s=30)
        await asyncio.sleep(60)
    assert (cluster.reasons, cluster.asked) == ([], [])


@virtual
async def test_a_job_that_the_cache_shows_late_is_not_gone():
    """The status comes before the Job: within fifteen seconds it is there."""
    cluster, _, job = world()
    cluster.drop(cluster.ref(job))
    async with following(cluster):
        await asyncio.sleep(10)
        cluster.put(job | {"metadata": job["metadata"] | {"uid": "shown-late"}})
        await asyncio.sleep(60)
    assert phase(cluster) == ("Running", "Running")


@virtual
async def test_a_job_that_was_thought_gone_keeps_its_end():
    """The watch was behind for long; once the Job is there, its end stays when its TTL takes it away."""
    cluster, _, job = world()
    cluster.drop(cluster.ref(job))
    async with following(cluster):
        await until(lambda: phase(cluster) == ("Idle", "Gone"))
        late = cluster.put(job | {"metadata": job["metadata"] | {"uid": "shown-late"}})
        cluster.finish(late)
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"))
        cluster.drop(cluster.ref(late))
        await asyncio.sleep(60)
    assert phase(cluster) == ("Idle", "Succeeded")


@virtual
async def test_a_job_that_is_being_deleted_runs_no_more():
    """It may be long in going: a finalizer."""
    cluster, _, job = world()
    async with following(cluster):
        held = cluster.objects[cluster.ref(job)]
        cluster.put(held | {"metadata": held["metadata"] | {"deletionTimestamp": "2026-05-06T07:00:09Z"}})
        await until(lambda: phase(cluster)[0] == "Idle", within_s=30)


@virtual
async def test_a_job_that_ended_and_went_in_one_moment_was_not_cancelled():
    """A TTL of 0: the deletion shows the last state."""
    cluster, _, job = world()
    async with following(cluster):
        cluster.drop(cluster.ref(job), status=ended("Failed"))
        await until(lambda: phase(cluster) == ("Idle", "Failed"))
    assert cluster.reasons == ["JobFailed"]


@virtual
async def test_a_job_that_waited_too_long_was_not_cancelled():
    """The queue says so before it deletes it; it tells and counts that itself."""
    cluster, _, job = world(suspend=True)
    async with following(cluster):
        cluster.deleted_as[job["metadata"]["uid"]] = "Expired"
        cluster.drop(cluster.ref(job))
        await until(lambda: phase(cluster) == ("Idle", "Expired"))
    assert cluster.reasons == []


@virtual
async def test_a_status_that_could_not_be_written_is_written_later():
    """An API server that was away a moment must not leave a trigger Running for ever."""
    cluster, _, job = world()
    async with following(cluster):
        cluster.faults = [("before", ApiUnavailable("away"))] * 3
        cluster.finish(job)
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"), within_s=20)


@virtual
async def test_a_new_leader_shows_what_happened_while_nobody_led():
    """Without telling ends again that were told."""
    cluster, _, job = world()
    cluster.finish(job)
    async with following(cluster):
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"))
    assert cluster.reasons == []


@virtual
async def test_a_cache_that_is_behind_lets_no_job_vanish():
    """A Job whose trigger is not known here gets a TTL only when the trigger is gone, live."""
    cluster = Cluster()
    cluster.lagging.add("WebhookTrigger")
    unsettled = cluster.job(cluster.trigger(status=recorded(runs=0)), suspend=False, ttl_seconds_after_finished="5")
    gone = {"kind": "WebhookTrigger", "metadata": {"name": "gone", "namespace": "n", "uid": "u-gone"}}
    orphan = cluster.job(gone, suspend=False, ttl_seconds_after_finished="5")
    async with following(cluster):
        await until(lambda: ttl(cluster, orphan) == 5)
        await asyncio.sleep(60)
    assert ttl(cluster, unsettled) is None
    assert entry_of(cluster.objects[REF]["status"], "app").runs == 0


@virtual
async def test_jobs_of_the_original_are_watched_until_they_end():
    """By their labels: they have no run of ours, so nothing is swept, settled or given a TTL."""
    cluster = Cluster()
    job = cluster.legacy_job(cluster.trigger(status=recorded()))
    async with following(cluster):
        await asyncio.sleep(60)
        cluster.finish(job)
        await until(lambda: cluster.series("jobs_queue_completed_count_total{") == 1)
    assert cluster.asked == []
    assert cluster.made("patch") == []


@virtual
async def test_jobs_that_are_no_runs_leave_no_text_and_no_series():
    """Their end, their deletion and their labels are their maker's own affair."""
    cluster, trigger, _ = world()
    reached = {f"git-events-runner.rs/{role}-name": "forged" for role in ("action", "source")}
    async with following(cluster):
        for number, namespace in ((1, "evil"), (2, "evil"), (9, "n")):
            made = {"ttl_seconds_after_finished": "5"}
            job = cluster.job(trigger, number, suspend=False, namespace=namespace, labels=reached, **made)
            cluster.finish(job)
            await asyncio.sleep(5)
            assert ttl(cluster, job) is None
            cluster.drop(cluster.ref(job))
            cluster.job(trigger, number, suspend=False, namespace=namespace)
            cluster.drop(cluster.ref(job))
        await asyncio.sleep(60)
    assert cluster.told == []
    assert cluster.series("jobs_queue_completed_count_total{") == 0
    assert phase(cluster) == ("Running", "Running")
    assert cluster.made("patch") != []  # the run's own TTL


@virtual
async def test_the_end_of_a_run_is_reported_when_its_status_arrives_after_it():
    """A Job may be seen before the record that allows its number."""
    cluster, trigger, _ = world()
    async with following(cluster):
        later = cluster.job(trigger, 3, suspend=False)
        cluster.finish(later)
        await asyncio.sleep(5)
        assert cluster.reasons == []
        cluster.change(REF, status=recorded(runs=3))
        await until(lambda: cluster.reasons == ["JobSucceeded"], within_s=5)
        await asyncio.sleep(60)
    assert cluster.reasons == ["JobSucceeded"]


class SlowFirst(Cluster):
    """Its first status write takes a while: `meanwhile` happens in it."""

    meanwhile = None

    async def write(self, ref, uid, *mutations):
        then, self.meanwhile = self.meanwhile, None
        if then:
            await asyncio.sleep(1)
            then()
        return await super().write(ref, uid, *mutations)


@virtual
@pytest.mark.parametrize("end", ["ended", "deleted"])
async def test_a_job_that_ends_while_a_new_leader_writes_its_first_statuses_is_noticed(end):
    """Nothing else has to happen for that."""
    cluster = SlowFirst()
    ran = cluster.job(cluster.trigger(name="another", status=recorded()), suspend=False)
    cluster.finish(ran)
    shown_before = recorded(lastJob={"name": ran["metadata"]["name"], "phase": "Running"})
    cluster.change(Ref("WebhookTrigger", "n", "another"), status=shown_before)
    _, _, job = world(cluster=cluster)
    cluster.meanwhile = (lambda: cluster.finish(job)) if end == "ended" else (lambda: cluster.drop(cluster.ref(job)))
    async with following(cluster):
        shown, reason = ("Succeeded", "JobSucceeded") if end == "ended" else ("Deleted", "JobCancelled")
        await until(lambda: phase(cluster) == ("Idle", shown) and cluster.reasons, within_s=10)
    assert cluster.reasons == [reason]


class Deaf:
    """A store that reports no changes."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def subscribe(self, *_kinds):
        return self._store.subscribe()


@virtual
async def test_every_pass_compares_the_jobs():
    """An end whose change was missed is noticed seconds later."""
    cluster, _, job = world()
    cluster.store = Deaf(cluster.store)
    async with following(cluster):
        await asyncio.sleep(5)
        cluster.finish(job)
        await until(lambda: phase(cluster) == ("Idle", "Succeeded"), within_s=10)
    assert cluster.reasons == ["JobSucceeded"]


@virtual
async def test_lost_jobs_that_cannot_be_read_keep_no_other_from_being_read():
    """Sixty of one namespace, whose Jobs may be listed and not read one by one."""
    cluster = Cluster()
    get, template = cluster.get, cluster.trigger()

    def lost(name, namespace):
        last = {"name": f"{name}-job", "phase": "Running"}
        metadata = {"name": name, "namespace": namespace}
        return cluster.put({**template, "metadata": metadata, "status": recorded(lastJob=last)})

    async def refused(ref, **options):
        if ref.namespace == "shut":
            raise ApiForbidden("no")
        return await get(ref, **options)

    cluster.get = refused
    for number in range(60):
        lost(f"t{number}", "shut")
    ref = cluster.ref(lost("last", "open"))
    async with following(cluster):
        shown = lambda: cluster.objects[ref]["status"]["checkedSources"]["app"]["lastJob"]["phase"]  # noqa: E731
        await until(lambda: shown() == "Gone", within_s=120)
