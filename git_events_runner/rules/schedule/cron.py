"""Cron expressions in their time zone: 5 fields, 6 (seconds first) or 7 (year last), `TZ=`, names, `? L W #`.

Of a schedule with a fixed hour, a wall-clock time that a clock change repeats fires once, at the first, and one that it
skips fires at the next instant that exists. Other schedules continue through real time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError

from git_events_runner.errors import InvalidObject

from .cron_fields import ANY, CRON_FIELD, HOUR, MINUTE, MONTH, SECOND, YEAR, Days, MonthDays, WeekDays, listed, plain

LONGEST_TEXT = 256
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+", re.IGNORECASE)
_FIRST = datetime(1970, 1, 1)  # noqa: DTZ001  wall-clock time of any zone
_YEARS = 150
_STEPS = 400
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule: time of day, months and years in croniter's form, days, zone, and whether its hour is fixed."""

    time: str
    second: str
    months: str
    years: str
    days: Days
    zone: ZoneInfo
    fixed_hour: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression.

        Raises:
            InvalidObject: It is not one, or never fires; the problem names the field and its range.
        """
        if len(text) > LONGEST_TEXT:
            raise InvalidObject(CRON_FIELD, f"is longer than {LONGEST_TEXT} characters")
        expression, zone = text.strip(), ZoneInfo("UTC")
        named = _ZONE.match(expression)
        if named:
            zone, expression = _zone(named[1]), expression[named.end() :].strip()
        if expression.startswith("@"):
            alias = _ALIASES.get(expression.lower())
            if alias is None:
                raise InvalidObject(CRON_FIELD, f"unknown {expression!r}; use one of {', '.join(_ALIASES)}")
            expression = alias
        fields = expression.split()
        if not 5 <= len(fields) <= 7:  # noqa: PLR2004  the three forms
            raise InvalidObject(
                CRON_FIELD, f"{text!r} has {len(fields)} fields; give 5, 6 (seconds first) or 7 (year last)"
            )
        fields = fields if len(fields) > 5 else ["0", *fields]  # noqa: PLR2004  the three forms
        second, minute, hour, monthday, month, weekday, year = [*fields, "*"][:7]
        found = cls(
            second=plain(second, SECOND),
            time=f"{plain(minute, MINUTE)} {plain(hour, HOUR)}",
            months=plain(month, MONTH),
            years=plain(year, YEAR),
            days=Days(month=MonthDays.parse(monthday), week=WeekDays.parse(weekday)),
            zone=zone,
            fixed_hour="*" not in hour,
        )
        if found._wall_after(_FIRST) is None:
            raise InvalidObject(CRON_FIELD, f"{text!r} never fires")
        return found

    def next_due(self, after: datetime) -> datetime | None:
        """The first instant after `after`, in the schedule's zone; None: it never fires again."""
        return self._fixed_after(after) if self.fixed_hour else self._running_after(after)

    def last_due(self, until: datetime) -> datetime | None:
        """The last instant not after `until`; None: there is none."""
        wall = _wall(until, self.zone) + timedelta(seconds=1)
        for _ in range(4):
            found = self._wall_before(wall)
            if found is None:
                return None
            instant = _instant(found, self.zone)
            if instant <= until:
                return instant
            wall = found
        return None

    def _fixed_after(self, after: datetime) -> datetime | None:
        wall: datetime | None = _wall(after, self.zone)
        for _ in range(_STEPS):
            wall = self._wall_after(wall) if wall is not None else None
            if wall is None:
                return None
            instant = _instant(wall, self.zone)
            if instant > after:
                return instant
        return None

    def _running_after(self, after: datetime) -> datetime | None:
        """Through real time: at a change of the clock the search continues with the new offset."""
        offset = _offset(after, self.zone)
        base = after
        for _ in range(_STEPS):
            wall = self._wall_after(_utc_naive(base) + offset)
            if wall is None:
                return None
            instant = (wall - offset).replace(tzinfo=UTC)
            if _offset(instant, self.zone) == offset:
                return instant.astimezone(self.zone)
            base = _change(base, instant, self.zone) - timedelta(seconds=1)
            offset = _offset(base + timedelta(seconds=1), self.zone)
        return None

    def _wall_after(self, wall: datetime) -> datetime | None:
        return self._neighbour(wall, forward=True)

    def _wall_before(self, wall: datetime) -> datetime | None:
        return self._neighbour(wall, forward=False)

    def _neighbour(self, wall: datetime, *, forward: bool) -> datetime | None:
        """The wall-clock time (naive) before or after another; None: there is none within 150 years."""
        if not self.days.special:
            in_month, in_week = self.days.month, self.days.week
            numbers = listed(in_month.numbers, every=in_month.any)
            weekdays = listed(in_week.numbers, every=in_week.any)
            expression = f"{self.time} {numbers} {self.months} {weekdays} {self.second} {self.years}"
            return _walked(expression, wall, forward=forward)
        for year, month, base in _months(wall, forward=forward):
            if not (_has(self.months, month) and _has(self.years, year)):
                continue
            days = listed(self.days.of(year, month))
            found = _walked(f"{self.time} {days} * * {self.second}", base, forward=forward) if days else None
            if found is not None and (found.year, found.month) == (year, month):
                return found
        return None


def _walked(expression: str, wall: datetime, *, forward: bool) -> datetime | None:
    """The time that croniter finds before or after another; None: none within 150 years, or after the year 9999."""
    walker = croniter(expression, wall, ret_type=datetime, max_years_between_matches=_YEARS)
    try:
        found: datetime = walker.get_next() if forward else walker.get_prev()
    except (CroniterError, OverflowError, ValueError):
        return None
    return found


def _months(wall: datetime, *, forward: bool) -> Iterator[tuple[int, int, datetime]]:
    """The month of a time and 150 years of those after or before it, each with the time to search from."""
    first = wall.year * 12 + wall.month - 1
    for index in range(first, first + _YEARS * 12) if forward else range(first, first - _YEARS * 12, -1):
        year, month = index // 12, index % 12 + 1
        if not MINYEAR < year < MAXYEAR:
            return
        begins = datetime(year, month, 1)  # noqa: DTZ001  wall-clock time of any zone
        ends = datetime(year + month // 12, month % 12 + 1, 1)  # noqa: DTZ001  as above
        yield year, month, max(wall, begins - _SECOND) if forward else min(wall, ends)


def _has(numbers: str, number: int) -> bool:
    return numbers == ANY or str(number) in numbers.split(",")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidObject(CRON_FIELD, f"unknown time zone {name!r}; use a name as Europe/Kyiv") from None


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _utc_naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks of the zone show this time for the first time; in a gap, when the gap ends."""
    first = wall.replace(tzinfo=zone, fold=0)
    if _wall(first.astimezone(UTC), zone) == wall:
        return first
    # In a gap, fold=0 reads with the offset before it (an instant after the change), fold=1 with the one after.
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _change(early - timedelta(hours=3), first.astimezone(UTC), zone).astimezone(zone)


def _change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The first instant in (low, high] with another offset than `low`, to the second."""
    low, high = low.astimezone(UTC).replace(microsecond=0), high.astimezone(UTC)
    offset = _offset(low, zone)
    step = timedelta(days=30)
    while low + step < high and _offset(low + step, zone) == offset:
        low += step
    high = min(high, low + step)
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
