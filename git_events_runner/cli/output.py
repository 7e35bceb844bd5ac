"""Output of the verbs: aligned tables with colour on a terminal, JSON and YAML. Text of users is printed harmlessly."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from git_events_runner.telemetry.stdout import printed

_COLORS = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


def colorful() -> bool:
    """Colour on a terminal; https://no-color.org and https://force-color.org decide otherwise."""
    return bool(sys.stdout.isatty() or os.environ.get("FORCE_COLOR")) and not os.environ.get("NO_COLOR")


def painted(text: str, color: str | None) -> str:
    """A text in a colour, where there are colours."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if color and text and colorful() else text


def plain(text: object) -> str:
    r"""A text without what a terminal obeys or what reorders it: names and messages may hold anything.

    >>> plain("a\x1b[2J\n")
    'a\\x1b[2J '
    """
    return "".join(
        char if char.isprintable() and unicodedata.category(char) != "Cf" else " " if char == "\n" else repr(char)[1:-1]
        for char in str(text)
    )


def width(text: str) -> int:
    """Columns that a text takes on a terminal.

    >>> width("né"), width("日")
    (2, 2)
    """
    wide = sum(unicodedata.east_asian_width(char) in {"W", "F"} for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


Cell = tuple[str, str | None]


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> str:
    r"""Columns as kubectl aligns them; a cell is a text, or a text and its colour.

    >>> table(["NAME", "AGE"], [["app", ("2m", None)]])
    'NAME  AGE\napp   2m\n'
    """
    cells = [
        [(plain(cell[0]), cell[1]) if isinstance(cell, tuple) else (plain(cell), None) for cell in row] for row in rows
    ]
    header: list[Cell] = [(column, "bold") for column in columns]
    widths = [max(width(row[at][0]) for row in [header, *cells]) for at in range(len(columns))]
    lines = []
    for row in [header, *cells]:
        parts = [
            painted(text, color) + " " * (widths[at] - width(text) + 2 if at < len(row) - 1 else 0)
            for at, (text, color) in enumerate(row)
        ]
        lines.append("".join(parts).rstrip())
    return "\n".join(lines) + "\n"


def structured(form: str, value: Mapping[str, Any]) -> int:
    """Print JSON or YAML; the exit code."""
    if form == "json":
        return printed(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    import yaml

    return printed(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True))


def age(since: datetime | None, now: datetime) -> str:
    """A duration as kubectl shows it; `-` where the time is unknown.

    >>> from datetime import UTC, timedelta
    >>> now = datetime(2026, 1, 2, tzinfo=UTC)
    >>> age(now - timedelta(minutes=3, seconds=4), now), age(now - timedelta(hours=30), now), age(None, now)
    ('3m4s', '30h', '-')
    """
    return "-" if since is None else duration((now - since).total_seconds())


def until(moment: datetime | None, now: datetime) -> str:
    """How long it is to a time: `in 5m`, `now`, or `-`."""
    if moment is None:
        return "-"
    seconds = (moment - now).total_seconds()
    return f"in {duration(seconds)}" if seconds > 1 else "now"


def duration(seconds: float) -> str:
    """A duration in one or two units.

    >>> duration(75), duration(3 * 86400 + 7200)
    ('75s', '3d2h')
    """
    left = max(0, int(seconds))
    if left < 120:  # noqa: PLR2004  as kubectl
        return f"{left}s"
    minutes, rest = divmod(left, 60)
    if minutes < 10:  # noqa: PLR2004  as kubectl
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    hours, minutes_left = divmod(minutes, 60)
    if hours < 3:  # noqa: PLR2004  as kubectl
        return f"{minutes}m"
    if hours < 8:  # noqa: PLR2004  as kubectl
        return f"{hours}h{minutes_left}m" if minutes_left else f"{hours}h"
    days, hours_left = divmod(hours, 24)
    if hours < 48:  # noqa: PLR2004  as kubectl
        return f"{hours}h"
    return f"{days}d{hours_left}h" if days < 8 and hours_left else f"{days}d"  # noqa: PLR2004  as kubectl
