"""The fields of a cron expression: what each may hold, as plain numbers, and the days that depend on the month.

Accepts every form of v0.4's parser (cron-lite: `5L`, `FRI#1`, `1,15W`) and those of Unix cron beyond it (`7`, `*/1`,
both day fields at the same time: either matches).
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass

from git_events_runner.errors import InvalidObject

CRON_FIELD = "spec.schedule.cron"
ANY = "*"
_SUNDAY, _SATURDAY, _WEEK = 0, 6, 7
_COUNTS = frozenset("12345")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One field: its name, its range, and the words for its numbers (the first for `first`)."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first: int = 0

    @property
    def span(self) -> str:
        """The range, for a person.

        >>> MINUTE.span, WEEKDAY.span
        ('0 to 59', '0 to 7 or SUN to SAT')
        """
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        return f"{self.low} to {self.high}{words}"

    def number(self, text: str) -> int:
        """The number that a text (in capitals) means.

        Raises:
            InvalidObject: It is not a number, or outside the range.
        """
        if text in self.words:
            return self.words.index(text) + self.first
        digits = text.removeprefix("+")
        if not (digits.isascii() and digits.isdigit() and self.low <= int(digits) <= self.high):
            raise self.wrong(text)
        return int(digits)

    def wrong(self, text: str, advice: str | None = None) -> InvalidObject:
        """The error for an unreadable text."""
        return InvalidObject(CRON_FIELD, f"{self.name} {text}: {advice or f'must be {self.span}'}")


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SECOND = Unit(name="second", low=0, high=59)
MINUTE = Unit(name="minute", low=0, high=59)
HOUR = Unit(name="hour", low=0, high=23)
MONTHDAY = Unit(name="day of month", low=1, high=31)
MONTH = Unit(name="month", low=1, high=12, words=_MONTHS, first=1)
WEEKDAY = Unit(name="day of week", low=0, high=7, words=("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
YEAR = Unit(name="year", low=1970, high=2099)
UNITS = (SECOND, MINUTE, HOUR, MONTHDAY, MONTH, WEEKDAY, YEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthDays:
    """The day of month field: any day, numbers, the last day, working days nearest to numbers."""

    any: bool = False
    numbers: frozenset[int] = frozenset()
    last: bool = False
    nearest: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, field: str) -> MonthDays:
        """Read the field.

        Raises:
            InvalidObject: It cannot be read.
        """
        numbers: set[int] = set()
        nearest: set[int] = set()
        items = _items(field)
        for item in items:
            if item.endswith("W"):
                nearest.add(MONTHDAY.number(item.rstrip("W")))
            elif item not in {ANY, "?", "L"}:
                numbers |= _numbers(item, MONTHDAY)
        return cls(
            any=ANY in items or "?" in items,
            numbers=frozenset(numbers),
            last="L" in items,
            nearest=frozenset(nearest),
        )

    def of(self, first: int, length: int) -> set[int]:
        """The days of a month of `length` days that begins on weekday `first` (0 is Sunday)."""
        found = {day for day in self.numbers if day <= length}
        found |= {_nearest(min(day, length), first, length) for day in self.nearest}
        return found | {length} if self.last else found


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekDays:
    """The day of week field: any day, weekdays (0 is Sunday), last ones and n-th ones of a month."""

    any: bool = False
    numbers: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    nth: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def parse(cls, field: str) -> WeekDays:
        """Read the field.

        Raises:
            InvalidObject: It cannot be read.
        """
        numbers: set[int] = set()
        last: set[int] = set()
        nth: set[tuple[int, int]] = set()
        items = _items(field)
        for item in items:
            if item.startswith("L"):
                raise WEEKDAY.wrong(item, f"the last one of a month is written {item[1:] or '5'}L")
            if item.endswith("L"):
                last.add(WEEKDAY.number(item.rstrip("L")) % _WEEK)
            elif "#" in item:
                day, count = item.split("#")[:2]
                if count.removeprefix("+") not in _COUNTS:
                    raise WEEKDAY.wrong(item, "# is followed by 1 to 5")
                nth.add((WEEKDAY.number(day) % _WEEK, int(count)))
            elif item not in {ANY, "?"}:
                numbers |= {number % _WEEK for number in _numbers(item, WEEKDAY)}
        return cls(
            any=ANY in items or "?" in items, numbers=frozenset(numbers), last=frozenset(last), nth=frozenset(nth)
        )

    def of(self, first: int, length: int) -> set[int]:
        """The days of a month of `length` days that begins on weekday `first`."""
        found = set()
        for day in range(1, length + 1):
            weekday, count = (first + day - 1) % _WEEK, (day + _WEEK - 1) // _WEEK
            last = day + _WEEK > length
            if weekday in self.numbers or (weekday, count) in self.nth or (last and weekday in self.last):
                found.add(day)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Both day fields. If one allows any day, the other decides; otherwise a day matches if either has it."""

    month: MonthDays
    week: WeekDays

    @property
    def special(self) -> bool:
        """Whether the days of a month depend on the month."""
        return bool(self.month.last or self.month.nearest or self.week.last or self.week.nth)

    def of(self, year: int, month: int) -> list[int]:
        """The days of that month, in order."""
        monday, length = calendar.monthrange(year, month)
        first = (monday + 1) % _WEEK
        if self.month.any and self.week.any:
            return list(range(1, length + 1))
        found = set() if self.month.any else self.month.of(first, length)
        return sorted(found if self.week.any else found | self.week.of(first, length))


def plain(field: str, unit: Unit) -> str:
    """A field of numbers as croniter takes it: `*`, or a list.

    >>> plain("*/20", MINUTE), plain("nov-jan", MONTH)
    ('0,20,40', '1,11,12')

    Raises:
        InvalidObject: The field cannot be read.
    """
    items = _items(field)
    numbers = {number for item in items if item != ANY for number in _numbers(item, unit)}
    return listed(numbers, every=ANY in items)


def listed(numbers: Iterable[int], *, every: bool = False) -> str:
    """Numbers in croniter's form; `every`: every one."""
    return ANY if every else ",".join(map(str, sorted(numbers)))


def _items(field: str) -> list[str]:
    return field.upper().split(",")


def _nearest(day: int, first: int, length: int) -> int:
    """The working day nearest to a day, in the same month."""
    weekday = (first + day - 1) % _WEEK
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _numbers(item: str, unit: Unit) -> set[int]:
    """The numbers of a value, a range (it may wrap from the end to the beginning), or steps through either."""
    base, stepped, step_text = item.partition("/")
    start, ranged, end = base.partition("-")
    if base == ANY:
        low, high = unit.low, unit.high - (unit is WEEKDAY)
    else:
        low = unit.number(start)
        high = unit.number(end) if ranged else unit.high - (unit is WEEKDAY) if stepped else low
    step = 1
    if stepped:
        digits = step_text.removeprefix("+")
        if not (digits.isascii() and digits.isdigit() and int(digits)):
            raise unit.wrong(item, "/ is followed by a step from 1")
        step = int(digits)
    if low <= high:
        return set(range(low, high + 1, step))
    size = _WEEK if unit is WEEKDAY else unit.high - unit.low + 1
    return {(number - unit.low) % size + unit.low for number in range(low, high + size + 1, step)}
