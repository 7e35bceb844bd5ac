"""How the end of a run is reported: one text for the Event, with the command that shows the logs."""

import pytest

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.derived_conditions import clone_words
from git_events_runner.rules.jobs.run_end import ended
from tests.rules.test_manifest import made

JOB = Ref("Job", "team", "hook-abc")
ABOUT = "source app at commit 111111111111 (new commit)"
RULE = "Container {} for pod team/hook-abc-x failed with exit code {} matching FailJob rule at index 1"


def view(reason=None, message="", verdict="fire-changed"):
    """A Job that ended: failed for a reason, or succeeded."""
    job = made()
    noted = {"commit": "1" * 40, "reason": verdict}
    job["metadata"]["annotations"] |= {f"git-events-runner.rs/{name}": value for name, value in noted.items()}
    kind = "Failed" if reason else "Complete"
    job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": message}]}
    return JobView.of(job)


def test_a_success_names_source_commit_reason_and_logs():
    """What `kubectl describe` of the trigger shows of it."""
    told = ended(JOB, view(), "app")
    assert (told.kind, told.reason, told.error) == ("Normal", "JobSucceeded", None)
    assert told.note == f"Job hook-abc succeeded; {ABOUT}. Logs: kubectl logs -n team job/hook-abc"


@pytest.mark.parametrize(
    ("reason", "message", "event", "error", "logs"),
    [
        (
            "PodFailurePolicy",
            RULE.format("action-worker", 3),
            "JobFailed",
            "container action-worker ended with exit code 3",
            "kubectl logs -n team job/hook-abc -c action-worker",
        ),
        (
            "PodFailurePolicy",
            RULE.format("action-worker", 137),
            "JobFailed",
            "container action-worker ended with exit code 137, killed: it may have used more memory than its limit",
            "kubectl logs -n team job/hook-abc -c action-worker",
        ),
        (
            "PodFailurePolicy",
            RULE.format("action-cloner", 4),
            "CloneNotFound",
            f"{clone_words(4)} (exit code 4)",
            "kubectl logs -n team job/hook-abc -c action-cloner",
        ),
        (
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
            "JobFailed",
            "its pod failed, and backoffLimit allows no other",
            "kubectl logs -n team job/hook-abc",
        ),
        (
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
            "JobFailed",
            "it ran longer than activeDeadlineSeconds, so Kubernetes stopped it and deleted its pods",
            None,
        ),
        ("Strange", "", "JobFailed", "Strange", "kubectl logs -n team job/hook-abc"),
        ("two\nlines", "", "JobFailed", "Failed", "kubectl logs -n team job/hook-abc"),
    ],
)
def test_a_failure_names_its_cause_and_the_logs_that_there_are(reason, message, event, error, logs):
    """Exit code where a rule of the pod failure policy wrote it; no logs where Kubernetes deleted the pods."""
    told = ended(JOB, view(reason, message), "app")
    assert (told.kind, told.reason, told.error) == ("Warning", event, error)
    assert told.note == f"Job hook-abc failed: {error}; {ABOUT}" + (f". Logs: {logs}" if logs else "")


@pytest.mark.parametrize("container", ["action-worker\x1b[2J", "UPPER", "a" * 64])
def test_what_is_no_container_name_is_not_repeated(container):
    """Those who may write a Job's status choose its message."""
    found = view("PodFailurePolicy", RULE.format(container, 3)).failure
    assert (found.reason, found.container, found.exit_code) == ("PodFailurePolicy", None, None)


def test_an_unknown_reason_annotation_is_left_out():
    """Those who may edit Jobs can write any text there."""
    told = ended(JOB, view(verdict="rm -rf /"), "app")
    assert "rm -rf" not in told.note
