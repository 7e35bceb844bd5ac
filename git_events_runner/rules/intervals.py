"""Intervals in the original's words (the humantime format): `1h 15m`, `30s`, `2days 3h`."""

from __future__ import annotations

import re

from git_events_runner.errors import InvalidObject

_MS = {
    **dict.fromkeys(("nsec", "ns"), 1e-6),
    **dict.fromkeys(("usec", "us", "µs"), 1e-3),
    **dict.fromkeys(("msec", "ms", "millis"), 1),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), 1000),
    **dict.fromkeys(("minutes", "minute", "mins", "min", "m"), 60_000),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), 3_600_000),
    **dict.fromkeys(("days", "day", "d"), 86_400_000),
    **dict.fromkeys(("weeks", "week", "wks", "wk", "w"), 604_800_000),
    **dict.fromkeys(("months", "month", "M"), 2_630_016_000),  # 30.44 days
    **dict.fromkeys(("years", "year", "yrs", "yr", "y"), 31_557_600_000),  # 365.25 days
}
_PART = re.compile(r"\s*(\d{1,18})\s*([A-Za-zµ]+)")
_LONGEST_MS = 100 * 31_557_600_000
LONGEST_TEXT = 256
FIELD = "spec.schedule.interval"


def parse_interval(text: str) -> int:
    """The length of an interval in milliseconds, from one second to a hundred years.

    >>> parse_interval("1h 15m")
    4500000

    Raises:
        InvalidObject: It is not in that form, shorter than a second, or longer than a hundred years.
    """
    if len(text) > LONGEST_TEXT:
        raise InvalidObject(FIELD, f"is longer than {LONGEST_TEXT} characters")
    total, at = 0.0, 0
    rest = text.strip()
    if not rest:
        raise InvalidObject(FIELD, "is empty; write it as 1h 15m or 30s")
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            raise InvalidObject(FIELD, f"{text!r} is not an interval; write it as 1h 15m or 30s")
        unit = _MS.get(part[2])
        if unit is None:
            raise InvalidObject(FIELD, f"{text!r}: unknown unit {part[2]!r}; use s, m, h, d, w, M (month) or y")
        total += int(part[1]) * unit
        at = part.end()
    if total < 1000:  # noqa: PLR2004  a second
        raise InvalidObject(FIELD, f"{text!r} is shorter than a second")
    if total > _LONGEST_MS:
        raise InvalidObject(FIELD, f"{text!r} is longer than a hundred years")
    return int(total)
