"""Whether a failed run is run again, and when: from its Job, the trigger and the entry alone.

So a restart of the controller changes nothing (`retry_of_last`, `attempt_on_job` and `ttl_after_retry` in tests/model).
A retry is a run of its own, with the next number, at the commit of the failed one. It is created only while the failed
run is the last one of its source, and the trigger is what it was when the failed Job was created. It starts inside the
trigger's windows, `cooldown` after the failed run's start, and not before a newer commit that waits for one of these
(`retry_waits` and `retry_yields` in tests/model).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from git_events_runner.resources.job import JobView
from git_events_runner.resources.retry import Attempt, Retry
from git_events_runner.rules.check_result import CheckResult, words_of
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.schedule.intervals import parse_interval
from git_events_runner.rules.waits import WaitPolicy, cooldown_ends, last_start

RETRY = "retry"
_LONGEST_S = 3600.0
_AGAIN = timedelta(seconds=15)


def next_attempt(job: JobView, owner: Owner[Any], *, most: int) -> Attempt | None:
    """Which attempt follows the Job if it fails, or None; `most` is how many retries the runtime config allows.

    If it has ended, its failure must be one that the trigger names.
    """
    trigger = owner.trigger
    of_commit = words_of(job.reason) is not None and job.reason != CheckResult.FIRE_DELETED
    if job.run is None or owner.number is None or not owner.named or not of_commit:
        return None
    retry: Retry | None = trigger.model.spec.retry
    if retry is None or trigger.model.spec.suspend or job.trigger_generation != trigger.model.metadata.generation:
        return None
    retries = min(retry.limit, most)
    if job.attempt.number > retries or owner.entry.runs > owner.number or job.deleting:
        return None
    if owner.settled and owner.entry.commit is None:
        return None  # the reference is deleted
    if job.finished and (job.result != "Failed" or cause_of(job) not in retry.causes):
        return None
    return Attempt(number=job.attempt.number + 1, most=retries + 1)


def cause_of(job: JobView) -> str:
    """Why a failed Job failed, in the words of `retry.on`."""
    return "CloneFailed" if job.clone_exit is not None else "Failed"


def retry_at(
    job: JobView, owner: Owner[Any], *, waits: WaitPolicy | None, closed_until: datetime | None, now: datetime
) -> datetime | None:
    """When a failed Job that may be run again is; None while it has not ended, or is not recorded.

    `waits` is what makes changes of its trigger wait, `closed_until` when its windows open (None: they are open). What
    may change until then is read again within seconds.
    """
    retry: Retry | None = owner.trigger.model.spec.retry
    if retry is None or job.ended_at is None or not owner.settled:
        return None
    at = job.ended_at + timedelta(seconds=backoff_s(retry.backoff, job.attempt.number))
    if waits is None:
        return at
    started = last_start(owner.entry, job, now)
    if waits.cooldown is not None and started is not None:
        at = max(at, cooldown_ends(started, waits.cooldown))
    if at > now:
        return at
    if waits_for_newer(owner, waits):
        return now + _AGAIN
    return at if closed_until is None else min(closed_until, now + _AGAIN)


def waits_for_newer(owner: Owner[Any], waits: WaitPolicy | None) -> bool:
    """Whether a newer commit of the source waits for a window or for `cooldown`: it runs instead of the failed run."""
    kept = waits is not None and (waits.windows is not None or waits.cooldown is not None)
    return kept and owner.entry.waiting is not None


def backoff_s(backoff: str, attempt: int) -> float:
    """How long after the end of that attempt the next one starts.

    >>> [backoff_s("1m", attempt) for attempt in (1, 2, 3, 9)], backoff_s("2h", 2)
    ([60.0, 120.0, 240.0, 3600.0], 7200.0)
    """
    first_s = parse_interval(backoff) / 1000
    return max(first_s, min(first_s * 2.0 ** min(attempt - 1, 20), _LONGEST_S))
