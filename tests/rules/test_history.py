"""`status.history`: the last runs of a trigger, newest first, within 4 KiB."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.local.apiserver import patch as patches_of
from git_events_runner.resources.job import COMMIT_ANNOTATION, REASON_ANNOTATION, RUN_ANNOTATION, JobView, RunKey
from git_events_runner.resources.status import TriggerStatus
from git_events_runner.rules.history import (
    RunState,
    effective_limit,
    enter_states,
    is_kept,
    record_of,
    recorded_phase,
    remember,
    unfinished_runs,
)
from git_events_runner.rules.jobs.last_job import JobPhase, unfinished_jobs
from git_events_runner.rules.ledger.mutations import Guards, Outcome
from git_events_runner.rules.ledger.patch import patch_for

BYTES = 4096


def record(number, *, source="app", minute=0, **fields):
    queued = f"2026-05-06T07:{minute:02}:00Z"
    return {"number": number, "source": source, "job": f"{source}-{number}", "queued": queued} | fields


def size(status):
    return len(json.dumps(status["history"], separators=(",", ":"), ensure_ascii=False).encode())


def jobs(status):
    return [one["job"] for one in status["history"]]


def job(*, suspend=False, ended=None, deleting=False, message=None, commit="c" * 40):
    times = {"startTime": "2026-05-06T07:01:00Z"} if not suspend else {}
    condition = {"type": ended, "status": "True", "lastTransitionTime": "2026-05-06T07:09:00Z", "message": message}
    metadata = {
        "name": "hook-x",
        "creationTimestamp": "2026-05-06T07:00:00Z",
        "annotations": {
            RUN_ANNOTATION: str(RunKey(trigger_uid="u", source="app", number=7)),
            COMMIT_ANNOTATION: commit,
            REASON_ANNOTATION: "fire-changed",
        },
    } | ({"deletionTimestamp": "2026-05-06T07:10:00Z"} if deleting else {})
    status = {"conditions": [condition] if ended else []} | times
    # Without a name, whose run it is needs no derived one.
    return JobView.of({"metadata": metadata | {"name": None}, "spec": {"suspend": suspend}, "status": status})


def test_a_record_is_what_people_ask_of_a_run():
    """Number, source, short commit, reason, Job, phase, when it was queued, started and finished, and the exit code."""
    message = "Container worker for pod n/x failed with exit code 3 matching FailJob rule at index 0"
    assert record_of("hook-x", job(ended="Failed", message=message)) == {
        "number": 7,
        "source": "app",
        "commit": "c" * 12,
        "reason": "fire-changed",
        "job": "hook-x",
        "phase": "Failed",
        "queued": "2026-05-06T07:00:00Z",
        "started": "2026-05-06T07:01:00Z",
        "finished": "2026-05-06T07:09:00Z",
        "exitCode": 3,
    }


def test_the_newest_run_is_first_whatever_order_runs_are_recorded_in():
    """A run that another replica settles late takes the place that its time gives it."""
    status = {}
    for number, minute in ((1, 1), (3, 3), (2, 2)):
        remember(status, record(number, minute=minute), 10)
    assert jobs(status) == ["app-3", "app-2", "app-1"]


def test_a_run_that_is_recorded_twice_is_one_record():
    """A settlement that is tried again does not repeat its run."""
    status = {}
    for _ in range(2):
        remember(status, record(1), 10)
    assert jobs(status) == ["app-1"]


def test_the_oldest_runs_beyond_the_limit_are_left_out():
    """`historyLimit: 2` keeps two, 0 none."""
    status = {}
    for number in range(5):
        remember(status, record(number, minute=number), 2)
    assert jobs(status) == ["app-4", "app-3"]
    remember(status, record(5, minute=5), 0)
    assert status["history"] == []


texts = st.text(min_size=0, max_size=253)


@given(
    st.lists(
        st.builds(
            lambda source, job_name, phase, number, minute: record(
                number, source=source, minute=minute, job=job_name, phase=phase
            ),
            *(texts, texts, texts, st.integers(0, 10**12), st.integers(0, 59)),
        ),
        max_size=60,
    ),
    st.integers(0, 50),
)
def test_a_history_never_takes_more_than_4_kib(records, limit):
    """Of however many sources, with the longest names in any script, also when states are entered later."""
    status = {"history": []}
    for one in records:
        remember(status, one, limit)
        assert size(status) <= BYTES
    state = RunState(phase="Failed", started="2026-05-06T07:00:00Z", finished="2026-05-06T07:00:00Z", exit_code=137)
    enter_states(status, {one["job"]: state for one in records})
    assert size(status) <= BYTES
    assert len(status["history"]) <= limit


def test_two_replicas_that_add_a_run_at_the_same_time_exceed_4_kib_not_either():
    """Each inserts its own run into a list that is as long as it may be."""
    status = {}
    for number in range(60):
        remember(status, record(number, minute=number, source="s" * 200, job="j" * 50 + str(number)), 50)
    old, patches = dict(status), []
    for number in (60, 61):
        new = dict(old)
        remember(new, record(number, minute=59, source="s" * 200, job="j" * 50 + str(number)), 50)
        patches.append(patch_for("u", old | {"checkedSources": {}}, new | {"checkedSources": {}}, Guards())[1:])
    found = {"status": old}
    for patch in patches:
        found = patches_of.apply(found, patch)
    assert [one["number"] for one in found["status"]["history"][:2]] == [61, 60]
    assert size(found["status"]) <= BYTES


@given(
    st.lists(st.integers(0, 30), max_size=15),
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.integers(0, 12),
    st.booleans(),
)
def test_a_patch_of_the_history_gives_the_history_that_was_meant(before, added, limit, change):
    """Insertions, removals and changed phases: applied to the old status it is the new one."""
    old = {"checkedSources": {}, "history": []}
    for minute in before:
        remember(old, record(minute, minute=minute), 10)
    new = {**old, "history": list(old["history"])}
    for minute in added:
        remember(new, record(minute, minute=minute), limit)
    if change:
        enter_states(new, {f"app-{minute}": RunState(phase="Succeeded") for minute in before})
    patch = patch_for("u", old, new, Guards())
    document = {"metadata": {"uid": "u"}, "status": old}
    assert patches_of.apply(document, patch)["status"] == new


def test_a_change_of_a_recorded_run_tests_the_history():
    """Two writers of phases cannot undo one another."""
    old = {"checkedSources": {}, "history": [record(1, phase="Queued")]}
    new = {**old, "history": [record(1, phase="Running")]}
    patch = patch_for("u", old, new, Guards())
    assert {"op": "test", "path": "/status/history", "value": old["history"]} in patch


def test_a_status_without_a_history_is_put_as_a_whole():
    """There is nothing to test yet."""
    assert patch_for("u", {"checkedSources": {}}, {"checkedSources": {}, "history": []}, Guards()) is None


def test_a_job_that_runs_again_has_not_finished():
    """An end that was recorded is removed when the Job is seen to be unfinished."""
    status = {"history": [record(1, phase="Expired", finished="2026-05-06T07:09:00Z", exitCode=1)]}
    assert enter_states(status, {"app-1": RunState(phase="Running", started="2026-05-06T07:10:00Z")})
    assert status["history"] == [record(1, phase="Running", started="2026-05-06T07:10:00Z")]


def test_what_is_known_already_is_no_change():
    """The same state twice writes nothing."""
    status = {"history": [record(1, phase="Queued")]}
    assert not enter_states(status, {"app-1": RunState(phase="Queued"), "other": RunState(phase="Failed")})


@pytest.mark.parametrize(
    ("recorded", "view", "kept"),
    [
        ("Expired", job(suspend=True), True),
        ("Superseded", job(suspend=True), True),
        ("Replaced", job(deleting=True), True),
        ("Expired", job(), False),
        ("Queued", job(suspend=True), False),
        ("Running", job(deleting=True), False),
        (None, job(), False),
    ],
)
def test_the_reason_of_a_deletion_stays_recorded_until_the_job_is_deleted(recorded, view, kept):
    """A Job that still waits, or still ends, does not undo why the controller deletes it."""
    assert is_kept(recorded, view) is kept


def test_a_reason_of_a_deletion_is_recorded_also_of_a_run_that_a_newer_one_followed():
    """`lastJob` names the newer run; the history has both."""
    status = {
        "checkedSources": {"app": {"lastJob": {"name": "app-2", "phase": "Queued"}, "runs": 2, "commitHash": "c"}},
        "history": [record(2, phase="Queued"), record(1, phase="Queued")],
    }
    phase = JobPhase(source="app", job="app-1", phase="Superseded", finished="2026-05-06T07:09:00Z")
    assert phase.apply(status) is Outcome.WRITE
    assert phase.apply(status) is Outcome.DONE
    assert (recorded_phase(status, "app-1"), recorded_phase(status, "app-2")) == ("Superseded", "Queued")
    assert status["checkedSources"]["app"]["lastJob"]["phase"] == "Queued"


def test_unfinished_runs_of_the_history_are_followed():
    """Also those that are no source's last one: a Job that is deleted unseen is found to be."""
    status = {"history": [record(2, phase="Running"), record(1, phase="Running"), record(0, phase="Failed")]}
    assert unfinished_runs(status) == {"app-2": "app", "app-1": "app"}
    assert unfinished_jobs(status) == {"app-2": "app", "app-1": "app"}


@pytest.mark.parametrize("strange", [None, 7, "text", {}, [1, "x", None], [{"job": 7, "queued": [], "number": "x"}]])
def test_a_strange_history_is_replaced(strange):
    """A status that was written by hand does not prevent a record."""
    status = {"history": strange}
    enter_states(status, {"x": RunState(phase="Failed")})
    remember(status, record(1), 10)
    assert "app-1" in jobs(status)
    assert TriggerStatus.of({"history": strange}) is not None


@pytest.mark.parametrize(("asked", "found"), [(None, 10), (3, 3), (0, 0), (49, 20), (-1, 10), ("7", 10), (True, 10)])
def test_the_limit_is_the_triggers_within_the_bound(asked, found):
    """Else the default of the runtime config; what the API server would refuse counts as absent."""
    assert effective_limit(asked, default=10, most=20) == found
