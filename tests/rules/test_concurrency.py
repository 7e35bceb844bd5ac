"""Groups of runs: which a run is in, how many may run, in which order, and what a trigger may ask for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from git_events_runner.resources.concurrency import Concurrency
from git_events_runner.resources.job import JobView
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.admission import Queued, Slots, may_start, next_admissions
from git_events_runner.rules.concurrency import limit_of, occupies
from git_events_runner.rules.policy import Policy, replaces_runs

TRIGGER = Ref("WebhookTrigger", "n", "hook")
START = datetime(2026, 1, 1, tzinfo=UTC)


def spec(**fields):
    return TypeAdapter(Concurrency).validate_python(fields)


def job(number, state="waiting", *, source="app", limit=1, group=None):
    annotations = {"run": f"uid/{source}/{number}"}
    if group is not None:
        annotations |= {
            "concurrency-policy": "Queue",
            "concurrency-group": group,
            "concurrency-limit": str(limit),
        }
    metadata = {
        "annotations": {f"git-events-runner.rs/{name}": value for name, value in annotations.items()},
        "creationTimestamp": (START + timedelta(seconds=number)).isoformat(),
        "labels": {"git-events-runner.rs/trigger-kind": "WebhookTrigger", "git-events-runner.rs/trigger-name": "hook"},
    }
    if state == "deleting":
        metadata["deletionTimestamp"] = metadata["creationTimestamp"]
    status = {"conditions": [{"type": "Complete", "status": "True"}]} if state == "finished" else {}
    obj = {"metadata": metadata, "spec": {"suspend": state == "waiting"}, "status": status}
    return Queued(ref=Ref("Job", "n", f"{source}-{number}"), job=JobView.of(obj))


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"policy": "Queue"}, "WebhookTrigger/hook/app"),
        ({"policy": "Queue", "scope": "Source"}, "WebhookTrigger/hook/app"),
        ({"policy": "Queue", "scope": "Trigger"}, "WebhookTrigger/hook"),
        ({"policy": "Replace", "group": "terraform"}, "terraform"),
    ],
)
def test_a_run_records_the_group_of_its_scope(fields, group):
    """A shared group has no slash, so that it is never a scope's."""
    limit = limit_of(TRIGGER, "app", spec(**fields))
    assert limit == ConcurrencyLimit(policy=fields["policy"], group=group, limit=1)
    assert ConcurrencyLimit.of(limit.annotations) == limit


@pytest.mark.parametrize("fields", [None, {}, {"policy": "Allow", "limit": 3}])
def test_runs_overlap_by_default(fields):
    """Their Jobs record nothing."""
    assert limit_of(TRIGGER, "app", None if fields is None else spec(**fields)) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": "Queue", "scope": "Source", "group": "tf"}, "group and scope exclude each other"),
        ({"policy": "Replace", "limit": 2}, "limit must be 1 with policy Replace"),
        ({"policy": "Forbid"}, "'Allow', 'Queue', 'QueueLatest' or 'Replace'"),
        ({"policy": "Queue", "group": "A/b"}, "pattern"),
        ({"policy": "Queue", "limit": 0}, "greater than or equal to 1"),
    ],
)
def test_a_concurrency_that_means_nothing_is_refused(fields, message):
    """With the field and what to write."""
    with pytest.raises(ValidationError, match=message):
        spec(**fields)


@pytest.mark.parametrize(
    "annotations", [{}, {"concurrency-policy": "Queue"}, {"concurrency-policy": "Other", "g": "x"}]
)
def test_strange_annotations_limit_nothing(annotations):
    """Anybody may write annotations on Jobs."""
    assert ConcurrencyLimit.of({f"git-events-runner.rs/{name}": value for name, value in annotations.items()}) is None


@pytest.mark.parametrize(
    ("state", "found"), [("waiting", False), ("running", True), ("deleting", True), ("finished", False)]
)
def test_a_job_is_in_its_group_until_its_pod_is_gone(state, found):
    """A Job that is being deleted still has one."""
    assert occupies(job(1, state).job) is found


def test_a_suspended_job_is_in_its_group_while_its_pods_end():
    """The Job controller has not seen the suspension yet, or counts pods that end."""
    for status, found in (
        ({"startTime": "2026-01-01T00:00:00Z", "active": 1}, True),
        ({"startTime": "2026-01-01T00:00:00Z"}, True),
        (
            {
                "startTime": "2026-01-01T00:00:00Z",
                "terminating": 1,
                "conditions": [{"type": "Suspended", "status": "True"}],
            },
            True,
        ),
        ({"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]}, False),
    ):
        view = JobView.of({"metadata": {}, "spec": {"suspend": True}, "status": status})
        assert occupies(view) is found, status


def test_an_installation_may_forbid_to_replace_runs():
    """The other policies stop nothing."""
    forbidding = Policy(may_replace_runs=False)
    assert replaces_runs(forbidding, spec(policy="Replace")).reason == "ConcurrencyNotAllowed"
    assert replaces_runs(forbidding, spec(policy="QueueLatest")) is None
    assert replaces_runs(forbidding, None) is None
    assert replaces_runs(Policy(), spec(policy="Replace")) is None


_JOBS = st.lists(
    st.tuples(
        st.sampled_from(["waiting", "running", "deleting", "finished"]),
        st.sampled_from("ab"),
        st.sampled_from([None, "g", "h"]),
        st.integers(1, 3),
    ),
    max_size=12,
)


@given(_JOBS, st.integers(0, 6))
def test_no_admission_exceeds_a_group_or_overtakes_in_it(states, slots):
    """With the admitted ones no group has more than its limit, and the order of no source changes."""
    jobs = [
        job(number, state, source=source, group=group, limit=limit)
        for number, (state, source, group, limit) in enumerate(states, 1)
    ]
    admitted = next_admissions(jobs, slots=Slots(total=slots, each=slots), taken=())
    for queued in admitted:
        if (limit := queued.job.limit) is None:
            continue
        members = [one for one in jobs if one.job.limit is not None and one.job.limit.group == limit.group]
        assert sum(occupies(one.job) or one in admitted for one in members) <= limit.limit
        older = [one for one in jobs if one.job.run.source == queued.job.run.source and one.waits]
        assert all(one.job.run.number >= queued.job.run.number for one in older)


@given(_JOBS)
def test_a_new_job_that_starts_has_room_and_none_of_its_group_before_it(states):
    """Else it is created suspended."""
    jobs = [
        job(number, state, source=source, group=group, limit=limit)
        for number, (state, source, group, limit) in enumerate(states, 1)
    ]
    limit = ConcurrencyLimit(policy="Queue", group="g", limit=1)
    slots = Slots(total=99, each=99)
    if may_start(Ref("Job", "n", "new"), jobs, slots=slots, taken=(), limit=limit):
        members = [one for one in jobs if one.job.limit is not None and one.job.limit.group == "g"]
        assert not [one for one in members if one.waits or occupies(one.job)]
