"""Words of the status page: ages, durations, counts, and text of users made visible."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SHORT_COMMIT = 10
# Control characters, and those that change the direction of text or are invisible: they could make a name look like
# another one (https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""A text of a user with invisible and direction-changing characters as escapes; a long one is not cut.

    >>> visible("main\u202egpj")
    'main\\u202egpj'
    """
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def short(commit: str | None) -> str:
    """The first ten characters of a commit id; empty without one.

    >>> short("0123456789abcdef")
    '0123456789'
    """
    return (commit or "")[:_SHORT_COMMIT]


def duration(seconds: float | None) -> str:
    """A duration in at most two units; a dash when it is unknown.

    >>> [duration(each) for each in (0.2, 42, 61, 7_260, 90_000, None)]
    ['0 s', '42 s', '1 min 1 s', '2 h 1 min', '1 d 1 h', '–']
    """
    if seconds is None:
        return "–"
    total = max(int(seconds), 0)
    if total < _MINUTE:
        return f"{total} s"
    for unit, name, smaller, small in (
        (_MINUTE, "min", 1, "s"),
        (_HOUR, "h", _MINUTE, "min"),
        (_DAY, "d", _HOUR, "h"),
    ):
        if total < unit * (24 if unit == _HOUR else 60) or unit == _DAY:
            many, rest = total // unit, total % unit // smaller
            return f"{many} {name} {rest} {small}" if rest else f"{many} {name}"
    raise AssertionError(total)


def distance(moment: datetime, now: datetime) -> str:
    """The time between a moment and now, in one unit.

    >>> at = datetime(2026, 5, 6, 7, 0, tzinfo=UTC)
    >>> from datetime import timedelta
    >>> [distance(at, at + timedelta(seconds=each)) for each in (1, 125, -7_300)]
    ['just now', '2 min ago', 'in 2 h']
    """
    seconds = (now - moment).total_seconds()
    away = abs(seconds)
    if away < 5:  # noqa: PLR2004  too near to matter for readers
        return "just now" if seconds >= 0 else "now"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s")):
        if away >= unit:
            text = f"{int(away // unit)} {name}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    raise AssertionError(away)


def stamp(moment: datetime) -> str:
    """The moment as the page's titles show it, in UTC.

    >>> stamp(datetime(2026, 5, 6, 7, 0, tzinfo=UTC))
    '2026-05-06 07:00:00 UTC'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def many(count: int, one: str, more: str | None = None) -> str:
    """A count with its noun.

    >>> many(1, "trigger"), many(2, "trigger"), many(1_234, "run")
    ('1 trigger', '2 triggers', '1,234 runs')
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
