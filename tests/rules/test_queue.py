"""Admission: never more than the limit, oldest first, nobody overtakes."""

from datetime import UTC, datetime, timedelta

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.queue import Queued, may_start, next_admissions, used_slots

START = datetime(2026, 1, 1, tzinfo=UTC)


def job(name, *, age=0, suspended=True, run="u/s/1", conditions=(), labels=None, deleting=False):
    created = (START + timedelta(seconds=age)).isoformat()
    metadata = {"annotations": {"git-events-runner.rs/run": run}, "creationTimestamp": created, "labels": labels or {}}
    if deleting:
        metadata["deletionTimestamp"] = created
    status = {"conditions": [{"type": kind, "status": "True"} for kind in conditions]}
    return Queued(
        ref=Ref("Job", "n", name),
        job=JobView.of({"metadata": metadata, "spec": {"suspend": suspended}, "status": status}),
    )


def names(found):
    return [queued.ref.name for queued in found]


def test_the_oldest_waiting_jobs_fill_the_free_places():
    """Order is creation, then name."""
    jobs = [job("c", age=2), job("b", age=1), job("a", age=1), job("r", suspended=False)]
    assert names(next_admissions(jobs, limit=3, taken=())) == ["a", "b"]
    assert names(next_admissions(jobs, limit=1, taken=())) == []


def test_a_taken_place_counts_before_its_job_is_seen():
    """A request under way holds its place; a Job seen meanwhile is not counted twice."""
    taken = {Ref("Job", "n", "new"), Ref("Job", "n", "r")}
    jobs = [job("r", suspended=False), job("w")]
    assert used_slots(jobs, taken) == 2
    assert next_admissions(jobs, limit=2, taken=taken) == []


def test_ending_finished_and_deleted_jobs_free_their_place():
    """FailureTarget, SuccessCriteriaMet and a deletion free it before the Job is gone (a dead node keeps it)."""
    jobs = [
        job("1", suspended=False, conditions=["FailureTarget"]),
        job("2", suspended=False, conditions=["SuccessCriteriaMet"]),
        job("3", suspended=False, deleting=True),
        job("4", suspended=False, conditions=["Complete"]),
    ]
    assert used_slots(jobs, ()) == 0


def test_jobs_of_the_original_count_and_are_left_alone():
    """A Job without our annotation holds its place while it runs, and is never admitted by us."""
    jobs = [job("theirs", suspended=False, run=""), job("held", run="")]
    assert used_slots(jobs, ()) == 1
    assert next_admissions(jobs, limit=5, taken=()) == []


def test_kueues_jobs_are_kueues_to_admit():
    """A Job in somebody else's queue is never unsuspended, and nobody waits behind it."""
    jobs = [job("k", labels={"kueue.x-k8s.io/queue-name": "q"})]
    assert next_admissions(jobs, limit=5, taken=()) == []
    assert may_start(jobs, limit=1, taken=())


def test_nobody_starts_while_an_older_job_waits():
    """A new Job is made suspended even if a place is free just now."""
    assert may_start([], limit=1, taken=())
    assert not may_start([job("w")], limit=5, taken=())
    assert not may_start([job("r", suspended=False)], limit=1, taken=())
