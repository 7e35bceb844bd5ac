"""Problems and warnings in a trigger's status, as data.

The problem of a source is in its entry, that of a part of the trigger (its spec, its webhook's Secret) in `problems`,
warnings are in `warnings`. `rules/derived_conditions` derives the conditions from them; no code reads a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.status import PROBLEM_CHARS, REASON_CHARS, WARNINGS_MAX

TRIGGER, WEBHOOK, EARLIER = "trigger", "webhook", "earlier"
PARTS = (TRIGGER, WEBHOOK, EARLIER)
_MANY, _SHORT_CHARS = 100, 160  # if there are many, messages are short: a status of 1,000 sources stays writable


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something did not run: a reason from the one list, a message for a person, and who has to act."""

    reason: str
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProblem(Problem):
    """A problem as a status has it: `since` is when the source (or part) got this reason."""

    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWarning:
    """A fact that does not affect Ready, about a source or (None) the trigger; `generation` is the one it describes."""

    reason: str
    source: str | None
    message: str
    generation: int | None


def one_line(text: str) -> str:
    r"""A text for a status: one line, without characters that are no text.

    >>> one_line("a\n\tb\x00")
    'a b\ufffd'
    """
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in line)


def problem_of(status: Mapping[str, Any] | None, source: str) -> RecordedProblem | None:
    """The problem of a source, if there is one."""
    entry = _entries(status).get(source)
    return _read(entry.get("problem")) if isinstance(entry, Mapping) else None


def source_problems(status: Mapping[str, Any] | None) -> dict[str, RecordedProblem]:
    """The problem of each source that has one."""
    entries = [(name, one) for name, one in _entries(status).items() if isinstance(one, Mapping) and "problem" in one]
    found = {name: _read(entry["problem"]) for name, entry in entries}
    return {name: problem for name, problem in found.items() if problem is not None}


def part_problem(status: Mapping[str, Any] | None, part: str) -> RecordedProblem | None:
    """The problem of a part of the trigger, if there is one."""
    return _read(_parts(status).get(part))


def all_problems(status: Mapping[str, Any] | None) -> list[tuple[str, RecordedProblem]]:
    """Every problem with its subject: those that need a change first, and among these those of the trigger first."""
    parts = [(part, problem) for part in PARTS if (problem := part_problem(status, part)) is not None]
    sources = [(f"source {name}", problem) for name, problem in sorted(source_problems(status).items())]
    return sorted([*parts, *sources], key=lambda one: not one[1].stalled)


def is_same(recorded: RecordedProblem | None, problem: Problem | None) -> bool:
    """Whether a problem is recorded as it is now; messages are recorded cut."""
    if recorded is None or problem is None:
        return recorded is None and problem is None
    same = (recorded.reason, recorded.stalled) == (problem.reason[:REASON_CHARS], problem.stalled)
    return same and _is_same_text(recorded.message, problem.message)


def record_problem(status: dict[str, Any], source: str | None, part: str, problem: Problem | None, now: str) -> bool:
    """Record the problem of a source (None: of a part of the trigger), or that there is none; whether it changed."""
    before = part_problem(status, part) if source is None else problem_of(status, source)
    if problem is None:
        return _forget(status, source, part)
    if is_same(before, problem):
        return False
    reason = problem.reason[:REASON_CHARS]
    lasting = before is not None and (before.reason, before.stalled) == (reason, problem.stalled)
    place = _mapping(status, "problems") if source is None else _mapping(_mapping(status, "checkedSources"), source)
    place[part if source is None else "problem"] = {
        "reason": reason,
        "message": _shortened(problem.message, _numbered(_entries(status).values())),
        "stalled": problem.stalled,
        "since": before.since if before is not None and lasting else now,
    }
    return True


def forget_problems(status: dict[str, Any]) -> None:
    """Remove every problem."""
    for source in list(_entries(status)):
        _forget(status, source, "")
    status.pop("problems", None)


def earlier_sources(status: Mapping[str, Any] | None) -> list[str]:
    """The sources that have not been checked since another version reported a problem of the trigger."""
    earlier = _parts(status).get(EARLIER)
    sources = earlier.get("sources") if isinstance(earlier, Mapping) else None
    return [name for name in sources if isinstance(name, str)] if isinstance(sources, list) else []


def record_earlier(status: dict[str, Any], problem: RecordedProblem, sources: Iterable[str]) -> None:
    """Keep a problem until each of the sources was checked."""
    _mapping(status, "problems")[EARLIER] = {
        "reason": problem.reason[:REASON_CHARS],
        "message": one_line(problem.message)[:PROBLEM_CHARS],
        "stalled": problem.stalled,
        "since": problem.since,
        "sources": sorted(set(sources)),
    }


def keep_earlier(status: dict[str, Any], sources: Iterable[str]) -> bool:
    """Keep the earlier problem for those of its sources alone, if there are any; whether anything changed."""
    before = earlier_sources(status)
    left = sorted(set(before).intersection(sources))
    if EARLIER not in _parts(status) or (left and left == before):
        return False
    if left:
        status["problems"][EARLIER] = {**status["problems"][EARLIER], "sources": left}
        return True
    return _forget(status, None, EARLIER)


def warnings_of(status: Mapping[str, Any] | None) -> list[RecordedWarning]:
    """The warnings, by reason and source."""
    listed = (status or {}).get("warnings") if isinstance(status, Mapping) else None
    found = [_warning(raw) for raw in listed if isinstance(raw, Mapping)] if isinstance(listed, list) else []
    return sorted((one for one in found if one is not None), key=lambda one: (one.reason, one.source or ""))


def warning_of(status: Mapping[str, Any] | None, reason: str, source: str | None) -> RecordedWarning | None:
    """One of the warnings."""
    return next((one for one in warnings_of(status) if (one.reason, one.source) == (reason, source)), None)


def record_warning(
    status: dict[str, Any], reason: str, source: str | None, message: str | None, generation: int | None
) -> bool:
    """Record a warning, or (without a message) that there is none; whether it changed."""
    others = [one for one in warnings_of(status) if (one.reason, one.source) != (reason, source)]
    before = warning_of(status, reason, source)
    if message is None:
        if before is None:
            return False
    else:
        if before is not None and before.generation == generation and _is_same_text(before.message, message):
            return False
        if len(others) >= WARNINGS_MAX:
            return False
        text = _shortened(message, len(others))
        others.append(RecordedWarning(reason=reason, source=source, message=text, generation=generation))
    listed = [_raw_warning(one) for one in sorted(others, key=lambda one: (one.reason, one.source or ""))]
    if listed:
        status["warnings"] = listed
    else:
        status.pop("warnings", None)
    return True


def is_same_warning(recorded: RecordedWarning | None, message: str | None) -> bool:
    """Whether a warning is recorded with that message."""
    if recorded is None or message is None:
        return recorded is None and message is None
    return _is_same_text(recorded.message, message)


def _forget(status: dict[str, Any], source: str | None, part: str) -> bool:
    """Remove a problem; an entry that has nothing else is removed with it."""
    if source is None:
        parts = status.get("problems")
        if not isinstance(parts, dict) or part not in parts:
            return False
        del parts[part]
        if not parts:
            del status["problems"]
        return True
    entry = _entries(status).get(source)
    if not isinstance(entry, dict) or "problem" not in entry:
        return False
    del entry["problem"]
    if not entry:
        del status["checkedSources"][source]
    return True


def _numbered(entries: Iterable[Any]) -> int:
    return sum("problem" in entry for entry in entries if isinstance(entry, Mapping))


def _shortened(message: str, others: int) -> str:
    return one_line(message)[: _SHORT_CHARS if others >= _MANY else PROBLEM_CHARS]


def _is_same_text(recorded: str, message: str) -> bool:
    """Whether a recorded text is that message, cut to one of the two lengths."""
    line = one_line(message)
    return line[: len(recorded)] == recorded and len(recorded) >= min(len(line), _SHORT_CHARS)


def _entries(status: Mapping[str, Any] | None) -> Mapping[str, Any]:
    entries = status.get("checkedSources") if isinstance(status, Mapping) else None
    return entries if isinstance(entries, Mapping) else {}


def _parts(status: Mapping[str, Any] | None) -> Mapping[str, Any]:
    parts = status.get("problems") if isinstance(status, Mapping) else None
    return parts if isinstance(parts, Mapping) else {}


def _mapping(place: dict[str, Any], name: str) -> dict[str, Any]:
    found = place.get(name)
    if not isinstance(found, dict):
        found = place[name] = {}
    return found


def _read(raw: object) -> RecordedProblem | None:
    """A stored problem; without a reason it is none."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("reason"), str) or not raw["reason"]:
        return None
    message, since = raw.get("message"), raw.get("since")
    return RecordedProblem(
        reason=raw["reason"],
        message=message if isinstance(message, str) else "",
        stalled=raw.get("stalled") is True,
        since=since if isinstance(since, str) else "",
    )


def _warning(raw: Mapping[str, Any]) -> RecordedWarning | None:
    reason, source, message = raw.get("reason"), raw.get("source"), raw.get("message")
    generation = raw.get("observedGeneration")
    if not isinstance(reason, str) or not reason or not isinstance(message, str):
        return None
    return RecordedWarning(
        reason=reason,
        source=source if isinstance(source, str) else None,
        message=message,
        generation=generation if isinstance(generation, int) else None,
    )


def _raw_warning(one: RecordedWarning) -> dict[str, Any]:
    raw: dict[str, Any] = {"reason": one.reason, "message": one.message}
    if one.source is not None:
        raw["source"] = one.source
    if one.generation is not None:
        raw["observedGeneration"] = one.generation
    return raw
