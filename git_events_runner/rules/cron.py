"""Cron expressions in their time zone: 5 fields, 6 (seconds first) or 7 (year last), `TZ=`, names, `? L W #`.

Of a schedule with a fixed hour, a wall-clock time that a clock change repeats fires once, at the first, and one that it
skips fires at the next instant that exists. Other schedules go on through real time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError

from git_events_runner.errors import InvalidObject

FIELD = "spec.schedule.cron"
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
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+")
_CHARACTERS = re.compile(r"[0-9A-Za-z*?,/#-]+\Z")
_WORDS = re.compile(r"[A-Za-z]+")
_MONTHS = frozenset(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
_DAYS = frozenset(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
_NO_WORDS: frozenset[str] = frozenset()
# By field, from seconds to year: the words that may stand in it.
_ALLOWED = (_NO_WORDS, _NO_WORDS, _NO_WORDS, frozenset({"l", "w", "lw"}), _MONTHS, _DAYS | {"l"}, _NO_WORDS)
_NAMES = ("second", "minute", "hour", "day of month", "month", "day of week", "year")
_FIRST = datetime(1970, 1, 1)  # noqa: DTZ001  wall-clock time of any zone
_YEARS = 150
_STEPS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """An expression in croniter's form, its zone, and whether its hour is fixed."""

    expression: str
    seconds_first: bool
    zone: ZoneInfo
    fixed_hour: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression.

        Raises:
            InvalidObject: It is not one, random (`R`), or never fires.
        """
        if len(text) > LONGEST_TEXT:
            raise InvalidObject(FIELD, f"is longer than {LONGEST_TEXT} characters")
        expression, zone = text.strip(), ZoneInfo("UTC")
        named = _ZONE.match(expression)
        if named:
            zone, expression = _zone(named[1]), expression[named.end() :].strip()
        if expression.startswith("@"):
            alias = _ALIASES.get(expression.lower())
            if alias is None:
                raise InvalidObject(FIELD, f"unknown {expression!r}; use one of {', '.join(_ALIASES)}")
            expression = alias
        fields = expression.split()
        if not 5 <= len(fields) <= 7:  # noqa: PLR2004  the three forms
            raise InvalidObject(FIELD, f"{text!r} has {len(fields)} fields; give 5, 6 (seconds first) or 7 (year last)")
        seconds_first = len(fields) > 5  # noqa: PLR2004  the three forms
        for place, field in enumerate(fields, start=0 if seconds_first else 1):
            _judge(field, place)
        hour = fields[2 if seconds_first else 1]
        found = cls(expression=" ".join(fields), seconds_first=seconds_first, zone=zone, fixed_hour="*" not in hour)
        try:
            first = found._wall_after(_FIRST)
        except (CroniterError, TypeError, ValueError, KeyError, IndexError) as error:
            raise InvalidObject(FIELD, f"{text!r} is not a cron expression: {error}") from None
        if first is None:
            raise InvalidObject(FIELD, f"{text!r} never fires")
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
        """Through real time: at a change of the clock the search goes on with the new offset."""
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
        return _found(self, wall, forward=True)

    def _wall_before(self, wall: datetime) -> datetime | None:
        return _found(self, wall, forward=False)


def _found(cron: Cron, wall: datetime, *, forward: bool) -> datetime | None:
    """The neighbouring wall-clock time (naive); None where croniter finds none within 150 years."""
    walker = croniter(
        cron.expression,
        wall,
        ret_type=datetime,
        second_at_beginning=cron.seconds_first,
        max_years_between_matches=_YEARS,
    )
    try:
        found: datetime = walker.get_next() if forward else walker.get_prev()
    except (CroniterError, OverflowError, ValueError):
        return None
    return found


def _judge(field: str, place: int) -> None:
    """Characters and words of one field; croniter would take more, some of it random."""
    if not _CHARACTERS.match(field):
        raise InvalidObject(FIELD, f"the {_NAMES[place]} field {field!r} has characters that no cron field has")
    for word in _WORDS.findall(field):
        if word.lower() not in _ALLOWED[place]:
            raise InvalidObject(FIELD, f"the {_NAMES[place]} field {field!r} has the unknown word {word!r}")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidObject(FIELD, f"unknown time zone {name!r}; use a name as Europe/Kyiv") from None


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
