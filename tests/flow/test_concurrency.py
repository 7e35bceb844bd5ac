"""Runs of a group do not overlap; a newer run supersedes a waiting one or stops the running one, as the policy says."""

import asyncio

import pytest

from git_events_runner.errors import ApiUnavailable
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.tasks import task_status_of
from tests.flow.test_deletions import leader
from tests.flow.test_queue import leading, queue_of
from tests.flow.virtual import until, virtual
from tests.flow.world import START, Cluster, recorded

REF = Ref("WebhookTrigger", "n", "hook")
STARTED = {"startTime": START.isoformat(), "active": 1, "ready": 1}


def limited(policy, group="WebhookTrigger/hook/app", limit=1):
    """Annotations of a Job with that concurrency."""
    return {"concurrency_policy": policy, "concurrency_group": group, "concurrency_limit": str(limit)}


def world(runs, policy, *, first_runs=False, **more):
    """A trigger with `runs` recorded runs of its source, whose Jobs wait; the first may run already."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=runs))
    jobs = [
        cluster.job(trigger, n, age_s=n, suspend=not (first_runs and n == 1), task_ids=f"task-{n}", **limited(policy))
        for n in range(1, runs + 1)
    ]
    if first_runs:
        jobs[0] = cluster.change(cluster.ref(jobs[0]), status=STARTED)
    if jobs:
        last = {"name": jobs[-1]["metadata"]["name"], "phase": "Queued"}
        cluster.change(REF, status=recorded(runs=runs, lastJob=last))
    return cluster, trigger, jobs


def running(cluster, jobs):
    """Numbers of the Jobs that run."""
    found = [cluster.objects.get(cluster.ref(job)) for job in jobs]
    return [n for n, job in enumerate(found, 1) if job and not job["spec"]["suspend"] and not _ended(job)]


def _ended(job):
    return bool((job.get("status") or {}).get("conditions"))


def there(cluster, jobs):
    """Numbers of the Jobs that exist."""
    return [n for n, job in enumerate(jobs, 1) if cluster.ref(job) in cluster.objects]


@virtual
async def test_queue_runs_all_in_order_one_at_a_time():
    """Each starts when the one before has ended, though slots are free all the time."""
    cluster, _, jobs = world(5, "Queue")
    async with leader(cluster, limit=9):
        for number in range(1, 6):
            await until(lambda number=number: running(cluster, jobs) == [number], within_s=3)
            await asyncio.sleep(30)
            assert running(cluster, jobs) == [number]
            cluster.finish(jobs[number - 1])
    assert there(cluster, jobs) == [1, 2, 3, 4, 5]


@virtual
async def test_a_full_group_keeps_no_other_job_out():
    """Jobs that wait for their group are passed over, and a new Job need not wait behind them."""
    cluster, _, jobs = world(3, "Queue", first_runs=True)
    other = cluster.trigger(name="other", status=recorded())
    free = cluster.job(other, age_s=99)
    queue = queue_of(cluster, limit=9)
    async with leading(queue):
        await until(lambda: running(cluster, [free]) == [1], within_s=2)
        assert queue.acquire_slot(Ref("Job", "n", "new"))
        assert running(cluster, jobs) == [1]


@virtual
async def test_a_group_with_a_limit_of_two_has_two():
    """The lowest limit of those that run counts: a Job with a higher one does not lift it."""
    cluster, _, _ = world(1, "Queue")
    names = [f"s{number}" for number in range(4)]
    entry = recorded()["checkedSources"]["app"]
    shared = cluster.trigger(name="shared", names=names, status={"checkedSources": dict.fromkeys(names, entry)})
    jobs = [
        cluster.job(shared, source=name, age_s=at, **limited("Queue", "tf", 2 if at < 3 else 9))
        for at, name in enumerate(names)
    ]
    async with leader(cluster, limit=9):
        await until(lambda: running(cluster, jobs) == [1, 2], within_s=2)
        await asyncio.sleep(10)
        assert running(cluster, jobs) == [1, 2]


@virtual
async def test_queue_latest_drops_those_in_between():
    """The one that runs is left alone; of those that wait the newest runs next; one Event for each dropped run."""
    cluster, _, jobs = world(4, "QueueLatest", first_runs=True)
    async with leader(cluster, limit=9):
        await until(lambda: there(cluster, jobs) == [1, 4], within_s=5)
        await asyncio.sleep(60)
        assert running(cluster, jobs) == [1]
        cluster.finish(jobs[0])
        await until(lambda: 4 in running(cluster, jobs), within_s=3)
        await until(lambda: cluster.reasons.count("Superseded") == 2, within_s=3)
        await until(lambda: cluster.series("jobs_queue_completed_count_total{") == 3, within_s=3)
    assert "JobCancelled" not in cluster.reasons
    deleted = cluster.made("delete", "Job")
    assert {call[3]["resource_version"] for call in deleted} == {
        job["metadata"]["resourceVersion"] for job in jobs[1:3]
    }


@virtual
async def test_the_requests_of_a_superseded_run_lead_to_the_newer_one():
    """A task id of the dropped run answers with the Job that takes its place."""
    cluster, _, jobs = world(3, "QueueLatest", first_runs=True)
    async with leader(cluster, limit=9):
        await until(lambda: there(cluster, jobs) == [1, 3], within_s=5)
    newest = cluster.objects[cluster.ref(jobs[2])]
    found = [(newest["metadata"]["name"], "Queued", newest["metadata"]["annotations"])]
    assert task_status_of("task-2", {}, found).text == f"superseded by job {newest['metadata']['name']} waiting"
    assert task_status_of("task-3", {}, found).text == f"job {newest['metadata']['name']} waiting"


@virtual
async def test_replace_stops_the_running_job_and_starts_when_it_is_gone():
    """Deleted in the foreground: while its pod ends nothing of the group starts."""
    cluster, _, jobs = world(3, "Replace", first_runs=True)
    async with leader(cluster, limit=9):
        await until(lambda: cluster.made("delete", "Job") and there(cluster, jobs) == [1, 3], within_s=5)
        await asyncio.sleep(60)
        assert cluster.objects[cluster.ref(jobs[0])]["metadata"]["deletionTimestamp"]
        assert running(cluster, jobs[2:]) == []
        cluster.drop(cluster.ref(jobs[0]))
        await until(lambda: running(cluster, jobs[2:]) == [1], within_s=2)
        await until(lambda: {"Replaced", "Superseded"} <= set(cluster.reasons), within_s=3)
    options = [call[3] for call in cluster.made("delete", "Job") if call[1] == cluster.ref(jobs[0])]
    assert [(one["propagation"], one["uid"]) for one in options] == [("Foreground", jobs[0]["metadata"]["uid"])]
    assert "JobCancelled" not in cluster.reasons


@virtual
async def test_replace_stops_no_run_of_another_source():
    """In a group of several sources each newest run has its turn: none is lost."""
    cluster = Cluster()
    names = ["a", "b"]
    entry = recorded()["checkedSources"]["app"]
    trigger = cluster.trigger(names=names, status={"checkedSources": dict.fromkeys(names, entry)})
    first = cluster.job(trigger, source="a", suspend=False, **limited("Replace", "tf"))
    second = cluster.job(trigger, source="b", age_s=1, **limited("Replace", "tf"))
    async with leader(cluster, limit=9):
        await asyncio.sleep(60)
        assert running(cluster, [first, second]) == [1]
        cluster.finish(first)
        await until(lambda: running(cluster, [second]) == [1], within_s=2)


@pytest.mark.parametrize("policy", ["Queue", "QueueLatest"])
def test_only_replace_stops_a_run(policy):
    """And it stops only Jobs that record Replace themselves: an edited trigger changes no Job that exists."""

    @virtual
    async def check():
        cluster, trigger, jobs = world(1, policy, first_runs=True)
        newer = cluster.job(trigger, 2, age_s=5, **limited("Replace"))
        last = {"name": newer["metadata"]["name"], "phase": "Queued"}
        cluster.change(REF, status=recorded(runs=2, lastJob=last))
        async with leader(cluster, limit=9):
            await asyncio.sleep(60)
            assert running(cluster, [*jobs, newer]) == [1]
            cluster.finish(jobs[0])
            await until(lambda: running(cluster, [newer]) == [1], within_s=2)

    check()


@virtual
async def test_an_unrecorded_newer_run_supersedes_nothing():
    """Its own creator may still be recording it."""
    cluster, trigger, jobs = world(2, "QueueLatest", first_runs=True)
    cluster.job(trigger, 3, age_s=5, **limited("QueueLatest"))
    async with leader(cluster, limit=9):
        await asyncio.sleep(8)
        assert there(cluster, jobs) == [1, 2]


@virtual
async def test_a_run_is_not_deleted_whose_lost_admission_arrives():
    """Its Job has another version then: nothing that runs is deleted under QueueLatest."""
    cluster, trigger, jobs = world(1, "QueueLatest")
    cluster.faults = [("before", ApiUnavailable("lost"))]
    async with leading(queue_of(cluster, limit=9)):
        await asyncio.sleep(1)
        newer = cluster.job(trigger, 2, age_s=5, **limited("QueueLatest"))
        cluster.lagging.add("Job")
        late = next(call for call in cluster.made("patch", "Job") if call[1] == cluster.ref(jobs[0]))
        await cluster.patch(late[1], late[2])
        last = {"name": newer["metadata"]["name"], "phase": "Queued"}
        cluster.change(REF, status=recorded(runs=2, lastJob=last))
        await asyncio.sleep(60)
        assert there(cluster, jobs) == [1]


@virtual
async def test_a_new_job_is_created_suspended_while_its_group_is_in_use_or_waits():
    """Also while the Job that uses it is being deleted, or only its creation is under way."""
    cluster, _, jobs = world(1, "Replace", first_runs=True)
    limit = ConcurrencyLimit(policy="Replace", group="WebhookTrigger/hook/app", limit=1)
    queue = queue_of(cluster, limit=9)
    async with leading(queue):
        await asyncio.sleep(0.1)
        new, other = Ref("Job", "n", "new"), Ref("Job", "n", "other")
        assert not queue.acquire_slot(new, limit)
        cluster.change(cluster.ref(jobs[0]), metadata={"deletionTimestamp": cluster.now().isoformat()})
        await asyncio.sleep(1)
        assert not queue.acquire_slot(new, limit)
        cluster.drop(cluster.ref(jobs[0]))
        await asyncio.sleep(1)
        assert queue.acquire_slot(new, limit)
        assert not queue.acquire_slot(other, limit)
        assert queue.acquire_slot(other)  # without a limit


@virtual
async def test_a_policy_that_is_added_holds_for_the_run_that_it_finds():
    """A Job of before the edit records no group: it is in those of its trigger and source."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=2))
    before = cluster.job(trigger, suspend=False)
    after = cluster.job(trigger, 2, age_s=1, **limited("Queue"))
    async with leader(cluster, limit=9):
        await asyncio.sleep(60)
        assert running(cluster, [before, after]) == [1]
        cluster.finish(before)
        await until(lambda: running(cluster, [after]) == [1], within_s=2)


@virtual
async def test_a_job_whose_start_is_not_noted_is_not_stopped_yet():
    """The Job controller may create its pod at that moment, and would not know of the deletion."""
    cluster, _, jobs = world(2, "Replace", first_runs=True)
    cluster.put({**cluster.objects[cluster.ref(jobs[0])], "status": {}})
    async with leader(cluster, limit=9):
        await asyncio.sleep(30)
        assert cluster.made("delete", "Job") == []
        cluster.change(cluster.ref(jobs[0]), status=STARTED)
        await until(lambda: cluster.made("delete", "Job"), within_s=3)


@virtual
async def test_a_job_of_a_deleted_trigger_stays_in_its_group_for_a_new_leader():
    """Another trigger shares the group: its run waits until that Job has ended; it takes no slot of the others."""
    cluster, _, _ = world(0, "Queue")
    shared = {"group": "terraform"}
    gone = cluster.trigger(name="gone", status=recorded(runs=1))
    held = cluster.job(gone, suspend=False, **limited("Queue", **shared))
    cluster.change(cluster.ref(held), status=STARTED)
    cluster.drop(Ref("WebhookTrigger", "n", "gone"))
    other = cluster.trigger(name="other", status=recorded(runs=1))
    waits = cluster.job(other, age_s=9, **limited("Queue", **shared))
    queue = queue_of(cluster, limit=1)
    async with leading(queue):
        await asyncio.sleep(30)
        assert running(cluster, [held, waits]) == [1]
        limit = ConcurrencyLimit(policy="Queue", group="terraform", limit=1)
        assert not queue.acquire_slot(Ref("Job", "n", "new"), limit)
        cluster.finish(held)
        await until(lambda: running(cluster, [waits]) == [1], within_s=3)


@virtual
async def test_a_run_that_this_replica_created_waits_until_the_watch_has_shown_it():
    """Another replica created an older run of the source, which this leader cannot know yet: that one starts first."""
    cluster, trigger, _ = world(0, "Queue")
    async with leading(queue_of(cluster, limit=9)):
        await asyncio.sleep(2)
        cluster.lagging.add("Job")
        older = cluster.job(trigger, 1, **limited("Queue"))
        mine = cluster.job(trigger, 2, age_s=1, **limited("Queue"))
        cluster.change(REF, status=recorded(runs=2))
        cluster.store.observe(mine)
        await asyncio.sleep(30)
        assert running(cluster, [older, mine]) == []
        cluster.catch_up("Job")
        await until(lambda: running(cluster, [older, mine]) == [1], within_s=3)
