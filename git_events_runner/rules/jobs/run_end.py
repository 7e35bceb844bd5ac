"""How a run ended, for people: the Event's reason and text, and why it failed.

Texts use the words of Kubernetes' Job conditions
(https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions) and the command that shows the
logs, if there are any: Kubernetes deletes the pods of a Job that ran too long.
"""

from __future__ import annotations

from dataclasses import dataclass

from git_events_runner.resources.job import Failure, JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.check_result import words_of
from git_events_runner.rules.derived_conditions import clone_reason, clone_words

COMMIT_CHARS = 12
_DEADLINE = "DeadlineExceeded"
_WORDS = {
    _DEADLINE: "it ran longer than activeDeadlineSeconds, so Kubernetes stopped it and deleted its pods",
    "BackoffLimitExceeded": "its pod failed, and backoffLimit allows no other",
}
_KILLED = 137  # 128 + SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A Job that ended: an Event's kind (Normal or Warning), reason and note; `error` is why it failed."""

    kind: str
    reason: str
    note: str
    error: str | None


def ended(job: Ref, view: JobView, source: str) -> Ended:
    """What is reported about the end of a run of `source`."""
    failure = view.failure
    error = _error(failure) if failure is not None else None
    about = f"source {source}"
    if view.commit:
        about += f" at commit {view.commit[:COMMIT_CHARS]}"
    if why := words_of(view.reason):
        about += f" ({why})"
    outcome = f"failed: {error}" if error is not None else "succeeded"
    note = f"Job {job.name} {outcome}; {about}{_logs(job, failure)}"
    if failure is None:
        return Ended(kind="Normal", reason="JobSucceeded", note=note, error=None)
    code = view.clone_exit
    reason = "JobFailed" if code is None else clone_reason(code)
    return Ended(kind="Warning", reason=reason, note=note, error=error)


def _error(failure: Failure) -> str:
    code = failure.exit_code
    if code is None:
        return _WORDS.get(failure.reason, failure.reason)
    if failure.init:
        return f"{clone_words(code)} (exit code {code})"
    hint = ", killed: it may have used more memory than its limit" if code == _KILLED else ""
    return f"container {failure.container} ended with exit code {code}{hint}"


def _logs(job: Ref, failure: Failure | None) -> str:
    if failure is not None and failure.reason == _DEADLINE:
        return ""
    container = f" -c {failure.container}" if failure is not None and failure.container else ""
    return f". Logs: kubectl logs -n {job.namespace} job/{job.name}{container}"
