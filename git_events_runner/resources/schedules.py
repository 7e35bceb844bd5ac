"""Schedules that the API server accepts: the forms of `rules/schedule` (intervals and cron fields), as patterns.

They refuse what can never work, and nothing that v0.4 or this program takes; what only a calendar or a list of time
zones can decide is left to the controller.
"""

from __future__ import annotations

from .rule import Rule

_BLANK = "[^!-~]"  # and every letter beyond ASCII, the one of µs among them
_UNITS = (
    "nanos|nsec|ns|usec|us|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|"
    "days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y"
)
_DIGITS = f"[0-9]([0-9]|{_BLANK})*"
INTERVAL = Rule(
    pattern=f"^{_BLANK}*({_DIGITS}([.]{_BLANK}*{_DIGITS})?({_UNITS}){_BLANK}*)+$",
    message="write numbers with units, as 30s, 15m or 1h 30m; units are s, m, h, d, w, M (month) and y",
    in_model=False,
)

_WORD = "[!-<>-~]+"  # a field; the = keeps a zone apart
_NEXT = f"{_BLANK}+{_WORD}"
_ZONE = f"((cron_)?tz=[!-~]+{_BLANK}+)?"
_ALIAS = "@(yearly|annually|monthly|weekly|daily|midnight|hourly)"


def _number(digits: str, words: str = "") -> str:
    return f"([+]?0*({digits}){'|' + words if words else ''})"


def _list(item: str) -> str:
    return f"({item})(,({item}))*"


def _numbers(value: str) -> str:
    return f"([*]|{value}(-{value})?)(/[+]?0*[1-9][0-9]*)?"


_SIXTY = _list(_numbers(_number("[1-5]?[0-9]")))
_DAY = _number("[1-9]|[12][0-9]|3[01]")
_WEEKDAY = _number("[0-7]", "sun|mon|tue|wed|thu|fri|sat")
_MONTH = _number("[1-9]|1[0-2]", "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec")
_YEAR = _number("19[7-9][0-9]|20[0-9][0-9]")
_FIELDS = (
    ("second", "0 to 59", _SIXTY),
    ("minute", "0 to 59", _SIXTY),
    ("hour", "0 to 23", _list(_numbers(_number("1?[0-9]|2[0-3]")))),
    ("day of month", "1 to 31, L, or W after a day", _list(f"[?]|l|{_DAY}w+|{_numbers(_DAY)}")),
    ("month", "1 to 12 or JAN to DEC", _list(_numbers(_MONTH))),
    (
        "day of week",
        "0 to 7 or SUN to SAT; 5L for the last Friday, 5#1 for the first",
        _list(f"[?]|{_WEEKDAY}l+|{_WEEKDAY}#[+]?[1-5](#[^,]*)?|{_numbers(_WEEKDAY)}"),
    ),
    ("year", "1970 to 2099", _list(_numbers(_YEAR))),
)


def _full_match(*forms: str) -> str:
    return f"(?i)^{_BLANK}*{_ZONE}({'|'.join((_ALIAS, *forms))}){_BLANK}*$"


def _field(place: int, name: str, span: str, form: str) -> Rule:
    """One field's rule: in the forms with 5, 6 and 7 fields, the others as they are."""
    forms = []
    for fields in (5, 6, 7):
        at = place - (fields == 5)  # noqa: PLR2004  without seconds
        if 0 <= at < fields:
            forms.append(f"({_WORD}{_BLANK}+){{{at}}}{form}({_NEXT}){{{fields - at - 1}}}")
        else:
            forms.append(f"{_WORD}({_NEXT}){{{fields - 1}}}")
    return Rule(pattern=_full_match(*forms), message=f"{name}: {span}", in_model=False)


CRON_SHAPE = Rule(
    pattern=_full_match(f"{_WORD}({_NEXT}){{4,6}}"),
    message="write 5 fields (minute, hour, day of month, month, day of week), 6 (seconds first) or 7 (year last), or "
    "@hourly, @daily, @weekly, @monthly, @yearly; TZ=Europe/Kyiv may come before",
    in_model=False,
)
CRON_FIELDS = tuple(_field(place, *parts) for place, parts in enumerate(_FIELDS))


def cron_rules() -> list[dict[str, str]]:
    """The CEL rules of a cron expression: its shape, then each field, so that one mistake gives one message."""
    shape = CRON_SHAPE.as_json["rule"]
    fields = [{**rule.as_json, "rule": f"!{shape} || {rule.as_json['rule']}"} for rule in CRON_FIELDS]
    return [CRON_SHAPE.as_json, *fields]
