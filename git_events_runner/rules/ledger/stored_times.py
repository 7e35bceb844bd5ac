"""Times in statuses, compared with the clock: a time in the future is from a wrong clock or was written by hand.

Such a time stops nothing. It reads as absent: what it would delay is done again, not omitted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from git_events_runner.resources.job import timestamp

_BORNE = timedelta(seconds=60)  # replicas' clocks differ


def lies_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a moment is further in the future than clocks may differ."""
    return moment - now > _BORNE


def stored_time(text: object, now: datetime) -> datetime | None:
    """The time in a status; None when there is none, it cannot be read, or it is in the future.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    >>> stored_time("2026-01-02T12:00:30Z", noon) is None, stored_time("2026-01-03T12:00:00Z", noon) is None
    (False, True)
    """
    moment = timestamp(text)
    return None if moment is None or lies_ahead(moment, now) else moment


def lies_later(known: str | None, than: str, now: str | None) -> bool:
    """Whether a known time is strictly later than another; unreadable and future times are not."""
    one, other, clock = timestamp(known), timestamp(than), timestamp(now)
    if one is None or other is None or (clock is not None and lies_ahead(one, clock)):
        return False
    return one > other


def rfc3339(moment: datetime) -> str:
    """Aware time as the API server writes it, to the second.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
