"""`next`: the next scheduled times of a schedule, or of the triggers in manifests."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.windows import Window
from git_events_runner.rules.schedule.schedule import Schedule, parse_schedule
from git_events_runner.rules.windows import Window as WindowRule
from git_events_runner.rules.windows import Windows, parse_windows
from git_events_runner.telemetry.stdout import printed

from .models import ScheduleList, ScheduleOut, TimeOut, dumped
from .next_manifest import is_path, scheduled
from .numbers import count
from .options import TEXT_FORMS, add_output
from .output import structured

EXAMPLE = "git-events-runner next '0 8 * * 1-5' -n 3"
_WRONG = 2


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "schedule",
        metavar="SCHEDULE",
        help="an interval (`1h 15m`) or a cron expression (`0 8 * * 1-5`, `TZ=Europe/Berlin` may come before); "
        "an interval counts from the first time on, in a cluster each repository has its own offset; or a file or "
        "folder of manifests (-: standard input): the times of each trigger with a schedule, and with spec.windows "
        "when the run of a change starts",
    )
    parser.add_argument("--after", metavar="RFC3339", help="the time to start from; unset: now")
    parser.add_argument(
        "--allow",
        metavar="WINDOW",
        action="append",
        default=[],
        help="a window in which runs may start, as spec.windows: its duration and its cron expression, "
        "`9h TZ=Europe/Berlin 0 8 * * 1-5`; then each time is followed by when the run of a change starts; repeatable",
    )
    parser.add_argument(
        "--deny", metavar="WINDOW", action="append", default=[], help="a window in which no run starts; repeatable"
    )
    parser.add_argument("-n", dest="count", metavar="COUNT", type=count, default=5, help="how many (default: 5)")
    add_output(parser, *TEXT_FORMS)


def run(arguments: argparse.Namespace) -> int:
    """Print the next scheduled times of an interval or a cron expression, RFC 3339, one per line; the exit code.

    A cron's times are in its own zone. An interval's grid starts at `after`; in the cluster each repository has a phase
    of its own.
    """
    try:
        moment = _moment(arguments.after)
        if is_path(arguments.schedule):
            return _of_manifests(arguments, moment)
        parsed = _schedule(arguments.schedule)
        windows = _windows(arguments.allow, arguments.deny)
    except InvalidObject as error:
        return _refuse(error.problem)
    times = list(islice(_times(parsed, moment), arguments.count))
    if not times:
        return _refuse(
            f"{arguments.schedule!r} does not fire after {moment.isoformat()} (the calendar has the years 1 to 9999)"
        )
    if arguments.output != "text":
        item = ScheduleOut(times=[_time_out(windows, time) for time in times])
        return structured(arguments.output, dumped(ScheduleList(items=[item])))
    return printed("".join(f"{_text(time)}{_start(windows, time)}\n" for time in times))


def _of_manifests(arguments: argparse.Namespace, moment: datetime) -> int:
    """The times of each trigger with a schedule, below its name."""
    if arguments.allow or arguments.deny:
        raise InvalidObject("--allow", "--allow and --deny belong to a schedule: manifests have spec.windows")
    found = [
        (one, list(islice(_times(one.schedule, moment), arguments.count))) for one in scheduled(arguments.schedule)
    ]
    if arguments.output != "text":
        items = [
            ScheduleOut(
                trigger=one.title,
                suspended=one.suspended,
                times=[_time_out(one.windows, time) for time in times],
            )
            for one, times in found
        ]
        return structured(arguments.output, dumped(ScheduleList(items=items)))
    lines = []
    for one, times in found:
        lines.append(f"{one.title}{' (suspended)' if one.suspended else ''}")
        lines += [f"  {_text(time)}{_start(one.windows, time)}" for time in times] or ["  never again"]
    return printed("".join(f"{line}\n" for line in lines))


def _windows(allow: list[str], deny: list[str]) -> Windows | None:
    """The windows of the options; None: none is given."""
    given = [(True, text) for text in allow] + [(False, text) for text in deny]
    found: list[WindowRule] = []
    for allowed, text in given:
        duration, _, cron = text.strip().partition(" ")
        try:
            spec = Window(allow=cron if allowed else None, deny=None if allowed else cron, duration=duration)
            found += parse_windows([spec], "")
        except InvalidObject as error:
            option = "--allow" if allowed else "--deny"
            problem = f"{option} {text!r}: {error.problem}; write a duration and a cron expression, as '9h 0 8 * * *'"
            raise InvalidObject(option, problem) from None
    return Windows((tuple(found),)) if found else None


def _start(windows: Windows | None, time: datetime) -> str:
    """When the run of a change that is found at that time starts; nothing without windows."""
    if windows is None:
        return ""
    opens = windows.opens_at(time)
    if opens is None:
        return "  runs never"
    return "  runs immediately" if opens == time else f"  runs at {_text(opens.astimezone(time.tzinfo))}"


def _time_out(windows: Windows | None, time: datetime) -> TimeOut:
    """A time in JSON, with the start of the run of a change."""
    opens = time if windows is None else windows.opens_at(time)
    return TimeOut(at=_text(time), starts=None if opens is None else _text(opens.astimezone(time.tzinfo)))


def _text(time: datetime) -> str:
    return time.isoformat(timespec=_precision(time))


def _precision(time: datetime) -> str:
    return "milliseconds" if time.microsecond else "seconds"


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
    return _WRONG
