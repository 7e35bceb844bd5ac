"""Whether a newer run of the same source has overtaken a waiting one: only such a run may be dropped.

The newest run of a source is never dropped: its commit is recorded as run, so no check would create it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.job import JobView
from git_events_runner.rules.ledger.report import Warn

from .check_result import CheckResult
from .identity import Found, Owner
from .problems import warnings_of
from .starting import JOB_NOT_STARTING
from .waits import starts_any_time

WAITING_FOR_SLOT = "WaitingForSlot"
SUPERSEDED, REPLACED = "Superseded", "Replaced"


def is_overtaken(owner: Owner[Any]) -> bool:
    """Whether a newer run of the source is recorded."""
    return owner.number is not None and owner.entry.runs > owner.number


def may_expire(job: JobView, owner: Owner[Any]) -> bool:
    """Whether a Job that waits for too long may be deleted: recorded, and overtaken or for its own request alone.

    With `onChangeOnly: false` each request is a run of its own, so that no run replaces another one.
    """
    return owner.settled and (job.reason == CheckResult.FIRE_ALWAYS or is_overtaken(owner))


def ended_as(job: JobView, owner: Owner[Any]) -> str | None:
    """Why the leader deleted a Job: a newer run superseded or replaced it; None: it did not.

    It follows from the Job and the entry, so that it is the same after a crash between the request and its record.
    """
    if not is_overtaken(owner):
        return None
    windows = owner.trigger.model is not None and bool(owner.trigger.model.spec.windows)
    if job.suspended and (keeps_latest(job) or may_be_skipped(job, windows=windows)):
        return SUPERSEDED
    return REPLACED if job.limit is not None and job.limit.policy == "Replace" else None


def keeps_latest(job: JobView) -> bool:
    """Whether a newer run of the same source supersedes the Job while it waits."""
    return job.limit is not None and job.limit.keeps_latest


def may_be_skipped(job: JobView, *, windows: bool) -> bool:
    """Whether a Job did not start, and must not run after a newer run of its source has; a request's own run may.

    Other Jobs start before it while it is tried again later, or, with `windows`, waits for an opening.
    """
    delayed = job.suspensions.requeues > 0 or (windows and not starts_any_time(job))
    return delayed and not job.pod_started and job.reason != CheckResult.FIRE_ALWAYS


def warnings_over(status: Mapping[str, Any] | None, jobs: Iterable[Found]) -> list[Warn]:
    """Remove warnings whose cause is over; `jobs` are its unfinished Jobs."""
    waiting, not_starting = set[str](), set[str]()
    for job in jobs:
        if job.model.waits:
            waiting.add(job.model.run.source)
        if job.model.run is not None and job.model.suspensions.requeues and not job.model.pod_started:
            not_starting.add(job.model.run.source)
    present = {WAITING_FOR_SLOT: waiting, Reason.OUTSIDE_WINDOWS: waiting, JOB_NOT_STARTING: not_starting}
    return [
        Warn(reason=one.reason, source=one.source, message=None)
        for one in warnings_of(status)
        if one.reason in present and one.source not in present[one.reason]
    ]
