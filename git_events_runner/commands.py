"""Commands for trying things out: when is a schedule due, which files do patterns select."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.patterns import Patterns
from git_events_runner.rules.schedule import Schedule, parse_schedule
from git_events_runner.stdout import printed

WRONG = 2


def next_times(schedule: str, after: str | None, count: int) -> int:
    """Print the next `count` due times of an interval or a cron expression, RFC 3339, one a line; the exit code.

    A cron's times are in its own zone. An interval's grid starts at `after`; in the cluster each repository has a phase
    of its own.
    """
    try:
        moment = _moment(after)
        parsed = _schedule(schedule)
    except InvalidObject as error:
        return _refuse(error.problem)
    found = list(islice(_times(parsed, moment), count))
    if not found:
        return _refuse(f"{schedule!r} does not fire after {moment.isoformat()} (the calendar has the years 1 to 9999)")
    return _print([due.isoformat(timespec="milliseconds" if due.microsecond else "seconds") for due in found])


def _times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The scheduled times after a moment, as long as the calendar has years for them."""
    moment: datetime | None = after
    with contextlib.suppress(OverflowError, ValueError):
        while moment is not None:
            if schedule.interval_ms is not None:
                moment += timedelta(milliseconds=schedule.interval_ms)
            else:
                moment = schedule.next_due(moment, phase_key="")
            if moment is not None:
                yield moment


def files(patterns: list[str]) -> int:
    """Print those of the paths on standard input that the patterns select: one per line, a submodule ends with `/`."""
    try:
        compiled = Patterns(patterns)
    except InvalidObject as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    lines = sys.stdin.buffer.read().split(b"\n")
    paths = (line.decode("utf-8", "surrogateescape").removeprefix("./") for line in lines if line)
    return _print([path for path in paths if compiled.selects(path.rstrip("/"), gitlink=path.endswith("/"))])


def _schedule(text: str) -> Schedule:
    """Five fields or more, `@` or `TZ=` before: a cron; else an interval."""
    stripped = text.strip()
    fields = stripped.split()
    cron = stripped.startswith(("@", "TZ=", "CRON_TZ=")) or len(fields) >= 5 or any(c in stripped for c in "*?#")  # noqa: PLR2004  the shortest cron
    if cron:
        return parse_schedule(None, text)
    try:
        return parse_schedule(text, None)
    except InvalidObject as error:
        raise InvalidObject("SCHEDULE", f"SCHEDULE: {error.problem}, or a cron expression as '0 8 * * 1-5'") from None


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidObject("--after", f"--after {text!r} is not an RFC 3339 time, as 2026-05-01T12:00:00Z")
    return moment


def _refuse(problem: str) -> int:
    sys.stderr.write(f"git-events-runner next: {problem}; see git-events-runner next --help\n")
    return WRONG


def _print(lines: list[str]) -> int:
    return printed("".join(f"{line}\n" for line in lines))
