"""Jobs that do not start: after a while others get their slot, and they are tried again with a growing back-off.

Their image may be missing, a quota may refuse their pod, no node may have room, or their clone may hang.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from git_events_runner.resources.job import ADMITTED, JobView, timestamp
from git_events_runner.resources.queuemarks import REQUEUED

JOB_NOT_STARTING = "JobNotStarting"
NOT_STARTING_S = 600.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S, _DOUBLINGS = 60, 1800, 5


def is_not_starting(job: JobView, now: datetime) -> bool:
    """Whether a Job holds a slot without a ready or ended pod for ten minutes; or was requeued for that.

    The Job controller sets `startTime` again whenever the Job is resumed.
    """
    if job.pod_started:
        return False
    if job.suspensions.requeues and not (job.finished or job.deleting):
        return True
    since = job.started_at or job.created_at
    return since is not None and job.holds_slot and (now - since).total_seconds() >= NOT_STARTING_S


def may_be_requeued(job: JobView) -> bool:
    """Whether a Job that does not start may be suspended again: it is ours, and its controller tries to start it.

    A Job that another party has resumed or suspended, as Kueue does, is not changed.
    """
    ours = job.run is not None and job.admission == ADMITTED and not job.queued_elsewhere and job.suspensions.are_ours
    return ours and job.holds_slot and job.started_at is not None and not job.pod_started


def backoff_s(requeues: int) -> int:
    """How long a Job waits before it is admitted again, in seconds.

    >>> [backoff_s(requeues) for requeues in (1, 2, 3, 4, 5, 6, 9999)]
    [60, 120, 240, 480, 960, 1800, 1800]
    """
    doubled: int = _FIRST_BACKOFF_S << min(max(requeues - 1, 0), _DOUBLINGS)
    return min(doubled, _LONGEST_BACKOFF_S)


def backs_off_until(job: JobView) -> datetime | None:
    """When a requeued Job may be admitted again; None: it is not requeued, or the time is not known."""
    if job.admission != REQUEUED:
        return None
    at = timestamp(job.suspensions.requeued_at)
    return None if at is None else at + timedelta(seconds=backoff_s(job.suspensions.requeues))


def queued_at(job: JobView) -> datetime | None:
    """Since when a Job waits in the queue: its creation, or its return to the end of the queue."""
    at = timestamp(job.suspensions.requeued_at) if job.admission == REQUEUED else None
    return at or job.created_at


def why(job: JobView) -> str:
    """The cause in a Job's status, and how to find more."""
    if job.active:
        return (
            "its pod is not ready: the image may be missing, no node has room, or the clone hangs; "
            "kubectl describe pod shows the cause"
        )
    return "no pod was created: a quota or an admission webhook may refuse it; kubectl describe job shows the cause"
