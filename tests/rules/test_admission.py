"""Admission: never more than the limit and a namespace's share, fair turns, oldest first, nobody overtakes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.admission import (
    Queued,
    Slots,
    held_slots,
    may_start,
    namespace_share,
    next_admissions,
    used_slots,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
NEW = Ref("Job", "n", "new")


def slots(total, each=None, **more):
    return Slots(total=total, each=total if each is None else each, **more)


def job(name, *, age=0, suspended=True, run="u/s/1", conditions=(), labels=None, deleting=False, namespace="n"):
    created = (START + timedelta(seconds=age)).isoformat()
    metadata = {"annotations": {"git-events-runner.rs/run": run}, "creationTimestamp": created, "labels": labels or {}}
    if deleting:
        metadata["deletionTimestamp"] = created
    status = {"conditions": [{"type": kind, "status": "True"} for kind in conditions]}
    return Queued(
        ref=Ref("Job", namespace, name),
        job=JobView.of({"metadata": metadata, "spec": {"suspend": suspended}, "status": status}),
    )


def names(found):
    return [queued.ref.name for queued in found]


def test_the_oldest_waiting_jobs_fill_the_free_places():
    """Order is creation, then name."""
    jobs = [job("c", age=2), job("b", age=1), job("a", age=1), job("r", suspended=False)]
    assert names(next_admissions(jobs, slots=slots(3), taken=())) == ["a", "b"]
    assert names(next_admissions(jobs, slots=slots(1), taken=())) == []


def test_a_taken_place_counts_before_its_job_is_seen():
    """A request under way holds its place; a Job seen meanwhile is not counted twice."""
    taken = {Ref("Job", "n", "new"), Ref("Job", "n", "r")}
    jobs = [job("r", suspended=False), job("w")]
    assert used_slots(jobs, taken) == 2
    assert next_admissions(jobs, slots=slots(2), taken=taken) == []


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
    assert next_admissions(jobs, slots=slots(5), taken=()) == []


def test_kueues_jobs_are_kueues_to_admit():
    """A Job in somebody else's queue is never unsuspended, and nobody waits behind it."""
    jobs = [job("k", labels={"kueue.x-k8s.io/queue-name": "q"})]
    assert next_admissions(jobs, slots=slots(5), taken=()) == []
    assert may_start(NEW, jobs, slots=slots(1), taken=())


def test_nobody_starts_while_an_older_job_waits():
    """A new Job is made suspended even if a place is free just now."""
    assert may_start(NEW, [], slots=slots(1), taken=())
    assert not may_start(NEW, [job("w")], slots=slots(5), taken=())
    assert not may_start(NEW, [job("r", suspended=False)], slots=slots(1), taken=())


def test_a_namespace_holds_no_more_than_its_share():
    """The rest stays free for the others, whose Jobs may start although older ones of that namespace wait."""
    jobs = [job(f"r{number}", suspended=False, namespace="evil") for number in range(3)]
    jobs += [job(f"w{number}", age=-number, namespace="evil") for number in range(1, 9)]
    assert next_admissions(jobs, slots=slots(4, 3), taken=()) == []
    assert may_start(NEW, jobs, slots=slots(4, 3), taken=())
    assert not may_start(Ref("Job", "evil", "new"), jobs, slots=slots(4, 3), taken=())
    assert names(next_admissions([*jobs, job("good", age=9)], slots=slots(4, 3), taken=())) == ["good"]


def test_the_namespace_that_holds_least_for_its_weight_is_next():
    """However much older the Jobs of the others are."""
    jobs = [job(f"e{number}", age=number, namespace="evil") for number in range(9)]
    jobs += [job("g0", age=100), job("g1", age=101)]
    assert names(next_admissions(jobs, slots=slots(4), taken=())) == ["e0", "g0", "e1", "g1"]
    heavy = slots(4, weight=lambda namespace: 3 if namespace == "evil" else 1)
    assert names(next_admissions(jobs, slots=heavy, taken=())) == ["e0", "g0", "e1", "e2"]


def test_of_namespaces_that_hold_the_same_the_one_admitted_longest_ago_is_next():
    """With one slot and short Jobs, a thousand old ones of one namespace do not come before a new one of another."""
    jobs = [*(job(f"e{number}", namespace="evil") for number in range(9)), job("good", age=100)]
    assert names(next_admissions(jobs, slots=slots(1, last={"evil": 7}), taken=())) == ["good"]
    assert names(next_admissions(jobs, slots=slots(1, last={"evil": 7, "n": 8}), taken=())) == ["e0"]


JOBS = st.lists(
    st.builds(
        lambda at, namespace, suspended, age: job(f"j{at}", namespace=namespace, suspended=suspended, age=age),
        st.integers(0, 30),
        st.sampled_from("abc"),
        st.booleans(),
        st.integers(0, 5),
    ),
    max_size=20,
    unique_by=lambda queued: queued.ref,
)


@given(JOBS, st.integers(0, 8), st.integers(1, 8))
def test_no_admission_passes_a_limit_or_leaves_a_slot_unused(jobs, total, each):
    """After it every free slot is held, or each namespace that waits has its share."""
    chosen = next_admissions(jobs, slots=slots(total, each), taken=())
    before = held_slots(jobs, ())
    after = held_slots(jobs, {queued.ref for queued in chosen})
    assert after.total() <= max(total, before.total())
    assert all(count <= max(each, before[namespace]) for namespace, count in after.items())
    left = {queued.namespace for queued in jobs if queued.waits and queued not in chosen}
    assert after.total() >= total or all(after[namespace] >= each for namespace in left)


@given(st.integers(0, 100), st.integers(0, 100), st.booleans())
def test_a_share_is_never_more_than_there_is(total, configured, several):
    """And never none, unless there are none at all."""
    share = namespace_share(total, configured, several=several)
    assert share <= max(total, 1)
    assert share or not total
