"""Scheduled times: intervals are a grid with a phase, crons fire at their times; a miss is handled once afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from git_events_runner.errors import InvalidObject

from .cron import Cron
from .intervals import parse_interval

_SPREAD_S = 30
_SHORT = timedelta(seconds=60)
_FURTHEST = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """An interval (milliseconds) or a cron."""

    interval_ms: int | None = None
    cron: Cron | None = None

    def next_due(self, after: datetime, *, phase_key: str) -> datetime | None:
        """The first scheduled time after `after`; None: never again."""
        return self.following(after, _digest(phase_key))

    def last_due(self, until: datetime, *, phase_key: str) -> datetime | None:
        """The last scheduled time not after `until`; None: there is none."""
        return self.preceding(until, _digest(phase_key))

    def following(self, after: datetime, phase: int) -> datetime | None:
        """As `next_due`, by the digest of the phase's key."""
        if self.cron is not None:
            return self.cron.next_due(after)
        return self._grid(after, phase, following=True)

    def preceding(self, until: datetime, phase: int) -> datetime | None:
        """As `last_due`, by the digest of the phase's key."""
        if self.cron is not None:
            return self.cron.last_due(until)
        return self._grid(until, phase, following=False)

    def _grid(self, moment: datetime, phase: int, *, following: bool) -> datetime:
        interval = self.interval_ms or 1
        phase %= interval
        now_ms = int(moment.timestamp() * 1000)
        steps = (now_ms - phase) // interval + int(following)
        return datetime.fromtimestamp((steps * interval + phase) / 1000, tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A scheduled time, and when to submit its check (later for one that was missed); None: never."""

    due_at: datetime | None
    submit_at: datetime | None


def parse_schedule(interval: str | None, cron: str | None) -> Schedule:
    """Read `spec.schedule`.

    Raises:
        InvalidObject: Neither or both are given, or the one given cannot be read.
    """
    if (interval is None) == (cron is None):
        raise InvalidObject("spec.schedule", "exactly one of interval and cron must be set")
    if cron is not None:
        return Schedule(cron=Cron.parse(cron))
    return Schedule(interval_ms=parse_interval(interval or ""))


def due(
    schedule: Schedule,
    *,
    phase_key: str,
    now: datetime,
    answered_at: datetime | None,
    spread_key: str | None,
    each_runs: bool = False,
) -> Planned:
    """The next scheduled time.

    For a source that was never checked it is now. A missed time after `answered_at`, the source's own record, is
    handled once. With a `spread_key` (a leader that begins) that is up to 30 s later, by its hash. It is then not
    handled for intervals under a minute, nor (unless `each_runs`) if the next scheduled time is sooner than that.
    """
    if answered_at is None:
        return Planned(due_at=now, submit_at=now)
    known = min(answered_at, now + _FURTHEST)  # from a status: no scheduled time is after the year 9999
    phase = _digest(phase_key)
    missed, following = schedule.preceding(now, phase), schedule.following(max(known, now), phase)
    near = following is not None and (following - now).total_seconds() < _SPREAD_S and not each_runs
    if missed is not None and missed > known and not (spread_key is not None and (near or _is_short(schedule))):
        delay_s = _digest(spread_key) % (_SPREAD_S * 1000) / 1000 if spread_key is not None else 0
        return Planned(due_at=missed, submit_at=now + timedelta(seconds=delay_s))
    return Planned(due_at=following, submit_at=following)


def _is_short(schedule: Schedule) -> bool:
    return schedule.interval_ms is not None and timedelta(milliseconds=schedule.interval_ms) < _SHORT


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
