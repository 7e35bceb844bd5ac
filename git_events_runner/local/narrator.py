"""What `local` prints: one line per event, coloured on a terminal, plain when piped.

It replaces the log's renderer, so that it prints what the controller logs, as sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, NoReturn

import structlog

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.check_result import CheckResult, words_of

Listener = Callable[[str, Mapping[str, Any]], None]
_COLORS = {"good": "32", "bad": "31", "warn": "33", "note": "36", "dim": "2"}
_OF_JOBS = ("34", "35", "36", "32", "94", "95", "96", "92")
_JOB_NAME = re.compile(r"(.+)-([a-z2-7]{4})[a-z2-7]{12}")
_STYLE = re.compile(r"(\x1b\[[0-9;]{0,32}m)")  # colours and the like alone: nothing moves the cursor
RESULTS: dict[str, str] = {  # the others are reported by events of their own
    CheckResult.SKIP_SAME: "nothing new",
    CheckResult.SKIP_FILES_SAME: "a new commit, but the selected files are the same: nothing to run",
    CheckResult.SKIP_IGNORED: "a new commit, but spec.ignore selects it: nothing to run",
    CheckResult.SKIP_ADOPTED: "nothing new",
    CheckResult.SKIP_ABSENT: "git does not show an open pull request: nothing to run",
    CheckResult.SKIP_ANSWERED: "handled by the check before",
    CheckResult.SKIP_FIRST: "its present commit is taken as known: nothing to run",
    CheckResult.SUSPENDED: "the trigger is suspended",
    CheckResult.WAIT_DELETED: "the git server does not show the reference; it is checked again",
    CheckResult.SKIP_DELETED: "the reference is deleted: nothing to run",
    CheckResult.WAIT_WINDOW: "a change waits until a window opens",
    CheckResult.WAIT_DEBOUNCE: "a change waits until the reference has not moved for a while",
    CheckResult.WAIT_COOLDOWN: "a change waits: the last run started a moment ago",
    CheckResult.WAIT_ANNOUNCED: "the git server does not show the announced commit yet",
}
_SENTENCES = {  # event → sentence with its fields, colour
    "webhook.rejected": ("webhook refused: {reason}", "warn"),
    "webhook.ignored": ("webhook ignored: {reason}", "dim"),
    "webhook.repeated": ("this delivery came before: nothing to run", "dim"),
    "hostkey.pinned": ("the key of {host} is pinned", "note"),
    "job.expired": ("job {job}: waited too long for a slot, deleted before it started", "bad"),
    "notification.simulated": ("would send {result} of {job} to {url}: {message}", "note"),
    "notification.sent": ("sent {result} of {job}", "dim"),
    "job.cancelled": ("job {job}: deleted before it ended", "warn"),
    "job.superseded": ("job {job}: superseded by a newer run before it started", "dim"),
    "job.replaced": ("job {job}: stopped, because a newer run replaces it", "warn"),
    "loop.late": ("this machine is busy: for {seconds} s nothing was done", "dim"),
}
_HINTS = {
    "Unreachable": "is repoUri right, and can this machine reach it?",
    "AuthenticationFailed": "check the source's authConfig and its Secret",
    "RepositoryNotFound": "check the source's repoUri",
    "ReferenceNotFound": "check the trigger's watchOn.reference",
}
_SILENT = frozenset(("job.finished", "crds.current", "lease.acquired", "lease.lost", "controller.started"))
_DELETED = frozenset(("job.cancelled", "job.replaced"))  # running Jobs that end without an end of their own
_COMMIT_CHARS = 8
_LEVELS = {"warning": "warn", "error": "bad", "critical": "bad", "exception": "bad"}


class Narrator:
    """Writes lines; `every_check` also prints scheduled checks that find nothing again and again."""

    def __init__(
        self, *, write: Callable[[str], None], color: bool, now: Callable[[], datetime], every_check: bool
    ) -> None:
        self._write = write
        self._color = color
        self._now = now
        self._every_check = every_check
        self._last: dict[tuple[str, ...], str] = {}
        self._problems: dict[tuple[str, ...], str] = {}
        self._calls: dict[str, int] = {}
        self._listeners: list[Listener] = []
        self._running: dict[Ref, None] = {}
        self._colors: dict[tuple[str | None, str], str] = {}

    def stopping(self, *, again: bool = False) -> None:
        """The program stops, and cancels the runs that have not ended; `again`: they run again at the next start."""
        names = ", ".join(job.name for job in self._running)
        if names:
            then = " (run again at the next start)" if again else ""
            self.print(f"stopping, cancelled job{'s' * (len(self._running) > 1)} {names}{then}", "warn")
        else:
            self.print("stopping", "dim")

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each event of the log: name and fields."""
        self._listeners.append(listener)

    def print(self, text: str, kind: str = "note") -> None:
        """One line of our own, with the time."""
        clock = self._now().strftime("%H:%M:%S")
        self._write(f"{self._paint(clock, 'dim')} {self._paint(text, kind)}")

    def plain(self, text: str) -> None:
        """One line as it is."""
        self._write(text)

    def __call__(self, _: object, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """The processor of structlog: print the event, or drop it; nothing is left for a logger."""
        name = str(event.get("event"))
        for listener in self._listeners:
            listener(name, event)
        if name in _DELETED:
            self._running.pop(Ref("Job", event.get("namespace"), str(event.get("job"))), None)
        text = self._describe(name, method, event)
        if text is not None:
            self.print(*text)
        raise structlog.DropEvent

    def job_started(self, job: Ref) -> None:
        """A Job's processes begin."""
        self._running[job] = None
        self.print(f"job {job.name}: started")

    def job_printed(self, job: Ref, line: str) -> None:
        """A line of a Job's output, after the Job's short name, which has a colour for each trigger."""
        text = colored(line) if self._color else printable(line)
        self._write(f"{self._paint(f'[{short_name(job.name)}]', self._color_of(job))} {text}")

    def job_ended(self, job: Ref, reason: str, why: str) -> None:
        """A Job ended."""
        self._running.pop(job, None)
        if reason == "CompletionsReached":
            self.print(f"job {job.name}: succeeded", "good")
        else:
            self.print(f"job {job.name}: failed: {why}", "bad")

    def _describe(self, name: str, method: str, event: Mapping[str, Any]) -> tuple[str, str] | None:
        """A line and its colour for an event; None prints nothing."""
        who = _who(event)
        match name:
            case "check.finished":
                return self._check(who, event)
            case "job.created":
                commit = str(event.get("commit"))[:_COMMIT_CHARS]
                reason = words_of(str(event.get("reason"))) or event.get("reason")
                return f"{who}: {commit}, {reason}{_calls(self._calls_answered(event))}: job {event.get('job')}", "note"
            case "webhook.accepted":
                return self._called(event)
            case "check.failed":
                return self._problem(who, method, event)
        if name in _SENTENCES:
            text, kind = _SENTENCES[name]
            text = text.format(**{"reason": "", "host": "", "job": "", **event})
            return f"{who}: {text}" if who else text, kind
        if name in _SILENT or method == "debug":
            return None
        if method in _LEVELS:
            text = f"{_words(name)}: {_rest(event)}"
            return f"{who}: {text}" if who else text, _LEVELS[method]
        return None

    def _problem(self, who: str, method: str, event: Mapping[str, Any]) -> tuple[str, str] | None:
        """Why a source could not be checked, with a hint where the error has none; once, not at every check."""
        reason, error = str(event.get("reason")), str(event.get("error"))
        key, known = _key(event), self._problems.get(_key(event))
        self._problems[key] = text = f"{reason}: {error}"
        if method == "debug" and (text == known or not self._every_check):
            return None
        self._calls_answered(event)
        hint = f"; {_HINTS[reason]}" if reason in _HINTS and "; " not in error else ""
        return f"{who}: {text}{hint}", "bad"

    def _check(self, who: str, event: Mapping[str, Any]) -> tuple[str, str] | None:
        result = str(event.get("verdict"))
        key = _key(event)
        known = self._last.get(key)
        self._last[key] = result
        if result not in RESULTS:
            return None  # another event reports it
        calls = self._calls_answered(event)
        if result == known and not calls and not self._every_check:
            return None
        if result == CheckResult.SKIP_ANSWERED and not calls:
            return None
        return f"{who}: {RESULTS[result]}{_calls(calls)}", "dim"

    def _called(self, event: Mapping[str, Any]) -> tuple[str, str] | None:
        """The first webhook call is printed immediately; further ones with their answers."""
        trigger = f"{event.get('namespace')}/{event.get('name')}"
        self._calls[trigger] = self._calls.get(trigger, 0) + 1
        return (f"{_who(event)}: webhook called", "note") if self._calls[trigger] == 1 else None

    def _calls_answered(self, event: Mapping[str, Any]) -> int:
        """How many calls this look answers; 0 for a schedule's."""
        if event.get("kind") == "ScheduleTrigger":
            return 0
        return self._calls.pop(f"{event.get('namespace')}/{event.get('name')}", 0)

    def _color_of(self, job: Ref) -> str:
        """A colour for all Jobs of a trigger; two of the first eight triggers never have the same one."""
        found = _JOB_NAME.fullmatch(job.name)
        trigger = job.namespace, found[1] if found else job.name
        return self._colors.setdefault(trigger, _OF_JOBS[len(self._colors) % len(_OF_JOBS)])

    def _paint(self, text: str, kind: str) -> str:
        return f"\x1b[{_COLORS.get(kind, kind)}m{text}\x1b[0m" if self._color else text


def short_name(name: str) -> str:
    """The name of a Job with a part of its digest.

    >>> short_name("nightly-qiisr23h24u6jvif"), short_name("other")
    ('nightly-qiis', 'other')
    """
    found = _JOB_NAME.fullmatch(name)
    return f"{found[1]}-{found[2]}" if found else name


def colored(text: str) -> str:
    r"""A line with its own colours, without anything else that a terminal obeys.

    >>> colored("\x1b[31mred\x1b[2J")
    '\x1b[31mred\ufffd[2J\x1b[0m'
    """
    parts = _STYLE.split(text)
    shown = "".join(part if _STYLE.fullmatch(part) else printable(part) for part in parts)
    return shown + ("\x1b[0m" if len(parts) > 1 else "")


def printable(text: str) -> str:
    r"""A line without what could move a terminal's cursor or change its title.

    >>> printable("a\x1b[2Jb\tc")
    'a�[2Jb\tc'
    """
    return "".join(char if char.isprintable() or char == "\t" else "�" for char in text)


def _who(event: Mapping[str, Any]) -> str:
    """namespace/name of the object, and the source."""
    name = event.get("name") or event.get("trigger")
    place = "/".join(str(part) for part in (event.get("namespace"), name) if part)
    return f"{place} {event['source']}" if place and event.get("source") else place


def _key(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The trigger and the source of a check."""
    return tuple(str(event.get(field)) for field in ("kind", "namespace", "name", "source"))


def _calls(number: int) -> str:
    return f" ({number} calls)" if number > 1 else ""


def _words(name: str) -> str:
    return name.replace(".", " ").replace("_", " ")


def _rest(event: Mapping[str, Any]) -> str:
    if event.get("error"):
        return str(event["error"])
    left_out = {"event", "target", "namespace", "name", "source", "exc_info"}
    return ", ".join(f"{name}={value}" for name, value in event.items() if name not in left_out)
