"""What a Job records about its run: labels, and the annotations that the ledger reads back."""

from __future__ import annotations

import hashlib

from git_events_runner.resources.actions import ActionJob
from git_events_runner.resources.job import (
    ADMISSION_ANNOTATION,
    AUTHOR_ANNOTATION,
    COMMIT_ANNOTATION,
    DELIVERIES_ANNOTATION,
    FILE_HASH_ANNOTATION,
    IDENTITY_LABEL,
    OCCURRENCE_ANNOTATION,
    REASON_ANNOTATION,
    RUN_ANNOTATION,
    RUN_REQUEST_ANNOTATION,
    RUN_TOKEN_ANNOTATION,
    SECRET_ANNOTATION,
    SUBJECT_ANNOTATION,
    TASK_IDS_ANNOTATION,
    TASKS_KEPT,
    TTL_ANNOTATION,
    WAITING_ANNOTATION,
)
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.queuemarks import QUEUE_ANNOTATIONS, START_TIMEOUT_ANNOTATION
from git_events_runner.resources.retry import GENERATION_ANNOTATION, RETRY_ANNOTATIONS

from .run import JobDefaults, Run

_LABEL_CHARS = 63
# Reserved, also where a run has none of them: their values are trusted when a Job is read back.
READ_BACK = frozenset(
    (
        RUN_ANNOTATION,
        COMMIT_ANNOTATION,
        AUTHOR_ANNOTATION,
        SUBJECT_ANNOTATION,
        FILE_HASH_ANNOTATION,
        REASON_ANNOTATION,
        OCCURRENCE_ANNOTATION,
        TASK_IDS_ANNOTATION,
        DELIVERIES_ANNOTATION,
        RUN_REQUEST_ANNOTATION,
        RUN_TOKEN_ANNOTATION,
        *RETRY_ANNOTATIONS,
        WAITING_ANNOTATION,
        TTL_ANNOTATION,
        SECRET_ANNOTATION,
        ADMISSION_ANNOTATION,
        *QUEUE_ANNOTATIONS,
        *(f"{GROUP}/{role}-name" for role in ("action", "source", "trigger")),
    )
)


def label(value: str) -> str:
    """A name as a label value: over 63 characters it is cut and ends with a digest.

    >>> label("app")
    'app'
    >>> len(label("a" * 80))
    63
    """
    if len(value) <= _LABEL_CHARS:
        return value
    digest = hashlib.sha256(value.encode()).hexdigest()[:10]
    return f"{value[: _LABEL_CHARS - 11].rstrip('-_.')}-{digest}"


def tracking_labels(run: Run) -> dict[str, str]:
    """The labels by which users find the Jobs of a trigger, an action or a source."""
    objects = {"action": run.action, "source": run.watched.source, "trigger": run.trigger}
    labels = {f"{GROUP}/{role}-kind": ref.kind for role, ref in objects.items()}
    labels |= {f"{GROUP}/{role}-name": label(ref.name) for role, ref in objects.items()}
    labels[IDENTITY_LABEL] = label(run.identity)
    return labels


def run_annotations(run: Run, action: ActionJob, defaults: JobDefaults, *, needs_copy: bool) -> dict[str, str]:
    """What the ledger reads back from a Job, and the full names where labels are cut."""
    waiting = (
        defaults.waiting_timeout_s if action.job_waiting_timeout_seconds is None else action.job_waiting_timeout_seconds
    )
    start = defaults.start_timeout_s if action.start_timeout_seconds is None else action.start_timeout_seconds
    ttl = defaults.ttl_s if action.ttl_seconds_after_finished is None else action.ttl_seconds_after_finished
    noted = {
        RUN_ANNOTATION: str(run.key),
        COMMIT_ANNOTATION: run.commit,
        FILE_HASH_ANNOTATION: run.file_hash or "",
        REASON_ANNOTATION: run.reason,
        OCCURRENCE_ANNOTATION: run.occurrence,
        TASK_IDS_ANNOTATION: ",".join(run.task_ids[-TASKS_KEPT:]),
        DELIVERIES_ANNOTATION: run.deliveries,
        RUN_REQUEST_ANNOTATION: str(run.run_request or ""),
        RUN_TOKEN_ANNOTATION: run.run_token or "",
        GENERATION_ANNOTATION: str(run.generation or ""),
        WAITING_ANNOTATION: str(waiting),
        START_TIMEOUT_ANNOTATION: str(start),
        TTL_ANNOTATION: str(ttl),
        SECRET_ANNOTATION: "copy" if needs_copy else "",
    }
    objects = {"action": run.action, "source": run.watched.source, "trigger": run.trigger}
    noted |= {f"{GROUP}/{role}-name": ref.name for role, ref in objects.items() if len(ref.name) > _LABEL_CHARS}
    noted |= {**run.attempt.annotations, **(run.notes or {})}
    if run.concurrency is not None:
        noted |= run.concurrency.annotations
    return {name: value for name, value in noted.items() if value}
