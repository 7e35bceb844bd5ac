"""What happens to the Job of a run, as values: it waits, it starts, another party suspends it, it ends.

The leader publishes each once to all observers (`flow/jobs/results`): log, metrics, Events, and other reporters.
A change that is undone between two states of the watch has no value of its own: an end may come without its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Found, Objects, Owner, series_labels

SUCCEEDED, FAILED, DELETED = "Succeeded", "Failed", "Deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """The Job of a run as it was seen last, and whose run it is; `number` is None for a Job of v0.4.

    `labels` are those of the run's series: each the name of an object that exists.
    """

    job: Ref
    uid: str
    view: JobView
    trigger: Ref
    trigger_uid: str
    source: str
    number: int | None
    labels: Mapping[str, str]

    @classmethod
    def of(cls, job: Found, owner: Owner[Any], objects: Objects[Any]) -> RunJob:
        """The Job with its owner, by what the store holds now."""
        return cls(
            job=job.ref,
            uid=job.uid,
            view=job.model,
            trigger=owner.trigger.ref,
            trigger_uid=owner.trigger.uid,
            source=owner.source,
            number=owner.number,
            labels=series_labels(job, owner, objects),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueued:
    """A Job waits for a slot, or for another party that admits it."""

    run: RunJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A Job may have pods from now on: it was created so, or admitted."""

    run: RunJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSuspended:
    """Another party suspended a Job: a person, or another controller."""

    run: RunJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """A Job ended: its `result` is Succeeded, Failed, Deleted (before it ended), or why the controller deleted it.

    `seconds` is the time from its start to its end, if it has both.
    """

    run: RunJob
    result: str
    seconds: float | None = None

    @classmethod
    def finished(cls, run: RunJob) -> JobEnded:
        """The end of a Job that is Complete or Failed."""
        view = run.view
        timed = view.ended_at is not None and view.started_at is not None
        seconds = (view.ended_at - view.started_at).total_seconds() if timed else None  # type: ignore[operator]
        return cls(run=run, result=view.result or FAILED, seconds=seconds)


JobEvent = JobQueued | JobStarted | JobSuspended | JobEnded


class JobObserver(Protocol):
    """Is called with everything that happens to Jobs; it never waits and never raises."""

    def observe(self, event: JobEvent) -> None:
        """Report it."""


def change_of(before: JobView | None, run: RunJob) -> JobEvent | None:
    """What happened to a Job between two of its states (None: it was not known), or None."""
    view = run.view
    if view.finished:
        return JobEnded.finished(run) if before is None or not before.finished else None
    if view.deleting or (before is not None and before.phase == view.phase):
        return None
    match view.phase:
        case "Suspended":
            return JobSuspended(run=run)
        case "Queued":
            return JobQueued(run=run)
        case _:
            return JobStarted(run=run)
