"""Windows: when runs may start. Open is a time inside an allowed window (or none is given), and inside no denied one.

A window begins at each time of its cron expression, in its time zone, and lasts for a duration of real time. So one
that spans a change of the clocks closes an hour earlier or later by the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.schedule.cron import Cron
from git_events_runner.rules.schedule.intervals import parse_interval

_STEPS = 64


class WindowSpec(Protocol):
    """A window as an object declares it."""

    @property
    def allow(self) -> str | None:
        """Cron expression of an allowed window."""

    @property
    def deny(self) -> str | None:
        """Cron expression of a denied window."""

    @property
    def duration(self) -> str:
        """How long it is."""

    @property
    def time_zone(self) -> str | None:
        """Name of the time zone of the expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """An allowed or denied window."""

    allow: bool
    starts: Cron
    duration: timedelta

    def end(self, at: datetime) -> datetime | None:
        """When the window around a time ends; None: that time is not inside.

        If windows overlap, it is the earliest end, so another window may follow immediately.
        """
        start = self.starts_after(at - self.duration)
        return start + self.duration if start is not None and start <= at else None

    def starts_after(self, at: datetime) -> datetime | None:
        """When the next window begins, in UTC: times of one zone are added and compared by its wall clock."""
        start = self.starts.next_due(at)
        return start.astimezone(UTC) if start is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Whether runs may start, at least until a time; None: without limit."""

    is_open: bool
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a trigger, and those of the installation. Both must be open."""

    groups: tuple[tuple[Window, ...], ...]

    def opening(self, at: datetime) -> Opening:
        """Whether runs may start at a time, and how long that holds at least."""
        openings = [_opening(group, at.astimezone(UTC)) for group in self.groups]
        closed = [opening for opening in openings if not opening.is_open]
        if closed:
            known = [opening.until for opening in closed if opening.until is not None]
            return Opening(is_open=False, until=max(known) if len(known) == len(closed) else None)
        return Opening(is_open=True, until=min((one.until for one in openings if one.until), default=None))

    def opens_at(self, at: datetime) -> datetime | None:
        """The first time from `at` on when runs may start; None: there is none.

        If windows follow one another very often, only some are searched: it is then a time before that one.
        """
        moment: datetime | None = at.astimezone(UTC)
        for _ in range(_STEPS):
            if moment is None:
                return None
            opening = self.opening(moment)
            if opening.is_open:
                return moment
            moment = opening.until
        return moment


def parse_windows(windows: Iterable[WindowSpec], field: str) -> tuple[Window, ...]:
    """Read `spec.windows`, or those of the installation's policy.

    Raises:
        InvalidObject: One of them cannot be read; the problem names its field.
    """
    return tuple(_parse(window, f"{field}[{index}]") for index, window in enumerate(windows))


def _parse(window: WindowSpec, field: str) -> Window:
    name, text = ("allow", window.allow) if window.allow is not None else ("deny", window.deny or "")
    if window.time_zone is not None:
        if "TZ=" in text.upper():
            raise InvalidObject(f"{field}.timeZone", "the time zone is given twice: in timeZone, and in the expression")
        text = f"TZ={window.time_zone} {text}"
    try:
        starts = Cron.parse(text)
    except InvalidObject as error:
        zone = "unknown time zone" in error.problem
        raise InvalidObject(f"{field}.{'timeZone' if zone and window.time_zone else name}", error.problem) from None
    try:
        duration = timedelta(milliseconds=parse_interval(window.duration))
    except InvalidObject as error:
        raise InvalidObject(f"{field}.duration", error.problem) from None
    return Window(allow=window.allow is not None, starts=starts, duration=duration)


def _opening(group: tuple[Window, ...], at: datetime) -> Opening:
    denied = [end for window in group if not window.allow and (end := window.end(at)) is not None]
    if denied:
        return Opening(is_open=False, until=max(denied))
    allowed = [window for window in group if window.allow]
    ends = [end for window in allowed if (end := window.end(at)) is not None]
    if allowed and not ends:
        return Opening(is_open=False, until=_earliest(window.starts_after(at) for window in allowed))
    denials = _earliest(window.starts_after(at) for window in group if not window.allow)
    changes = [moment for moment in (max(ends, default=None), denials) if moment is not None]
    return Opening(is_open=True, until=min(changes, default=None))


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
