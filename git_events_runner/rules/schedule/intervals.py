"""Intervals as v0.4 reads them (the humantime format): `1h 15m`, `30s`, `1.5h`, `2days 3h`."""

from __future__ import annotations

import re

from git_events_runner.errors import InvalidObject

_NS = {
    **dict.fromkeys(("nanos", "nsec", "ns"), 1),
    **dict.fromkeys(("usec", "us", "µs"), 10**3),
    **dict.fromkeys(("millis", "msec", "ms"), 10**6),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), 10**9),
    **dict.fromkeys(("minutes", "minute", "mins", "min", "m"), 60 * 10**9),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), 3600 * 10**9),
    **dict.fromkeys(("days", "day", "d"), 86_400 * 10**9),
    **dict.fromkeys(("weeks", "week", "wks", "wk", "w"), 604_800 * 10**9),
    **dict.fromkeys(("months", "month", "M"), 2_630_016 * 10**9),  # 30.44 days
    **dict.fromkeys(("years", "year", "yrs", "yr", "y"), 31_557_600 * 10**9),  # 365.25 days
}
# Blanks between digits are valid, too, as in v0.4.
_PART = re.compile(r"\s*([0-9][0-9\s]*)(?:\.([0-9\s]*[0-9][0-9\s]*))?([A-Za-zµ]*)\s*")
_MS = 10**6
_LONGEST_NS = 100 * _NS["years"]
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
    if not text.strip():
        raise InvalidObject(FIELD, "is empty; write it as 1h 15m or 30s")
    total, at = 0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise InvalidObject(FIELD, f"{text!r} is not an interval; write it as 1h 15m or 30s")
        unit = _NS.get(part[3])
        if unit is None:
            found = f"unknown unit {part[3]!r}; use" if part[3] else "a number without a unit; add"
            raise InvalidObject(FIELD, f"{text!r}: {found} s, m, h, d, w, M (month) or y")
        digits, fraction = "".join(part[1].split()), "".join((part[2] or "").split())
        total += int(digits + fraction) * unit // 10 ** len(fraction)
        at = part.end()
    if total < 1000 * _MS:
        raise InvalidObject(FIELD, f"{text!r} is shorter than a second")
    if total > _LONGEST_NS:
        raise InvalidObject(FIELD, f"{text!r} is longer than a hundred years")
    return total // _MS
