"""What happened to a Job between two of its states."""

import pytest

from git_events_runner.resources.job import RUN_ANNOTATION, JobView, RunKey, job_name
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.lifecycle import JobEnded, JobQueued, JobStarted, JobSuspended, RunJob, change_of

KEY = RunKey(trigger_uid="uid", source="app", number=1)
TIMES = {"startTime": "2026-05-06T07:00:00Z"}


def view(*, suspend=False, ended=None, deleting=False, started=False):
    conditions = [{"type": ended, "status": "True", "lastTransitionTime": "2026-05-06T07:01:30Z"}] if ended else []
    metadata = {
        "name": job_name("hook", KEY),
        "annotations": {RUN_ANNOTATION: str(KEY)},
        "labels": {"git-events-runner.rs/trigger-name": "hook"},
    } | ({"deletionTimestamp": "2026-05-06T07:02:00Z"} if deleting else {})
    status = {"conditions": conditions} | (TIMES if started or ended else {})
    return JobView.of({"metadata": metadata, "spec": {"suspend": suspend}, "status": status})


def run(seen):
    trigger = Ref("WebhookTrigger", "n", "hook")
    job = Ref("Job", "n", job_name("hook", KEY))
    return RunJob(job=job, uid="j", view=seen, trigger=trigger, trigger_uid="uid", source="app", number=1, labels={})


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (None, view(suspend=True), JobQueued),
        (None, view(), JobStarted),
        (None, view(ended="Complete"), JobEnded),
        (view(suspend=True), view(), JobStarted),
        (view(), view(suspend=True, started=True), JobSuspended),
        (view(suspend=True, started=True), view(), JobStarted),
        (view(), view(ended="Failed"), JobEnded),
        (view(suspend=True), view(ended="Failed"), JobEnded),
        (view(), view(), None),
        (view(suspend=True), view(suspend=True), None),
        (view(ended="Complete"), view(ended="Complete"), None),
        (view(), view(deleting=True), None),
        (view(suspend=True), view(deleting=True), None),
        (view(ended="Failed"), view(ended="Failed", deleting=True), None),
    ],
)
def test_a_change_of_a_job_is_one_event_or_none(before, after, what):
    """A state that stays the same, and a deletion that is under way, are no event."""
    event = change_of(before, run(after))
    assert (type(event) if event is not None else None) is what


def test_an_end_has_its_result_and_its_duration():
    """From the start of the Job to the end in its condition."""
    event = change_of(view(), run(view(ended="Failed")))
    assert (event.result, event.seconds) == ("Failed", 90.0)
