"""A trigger's conditions, derived from the problems, warnings and failed clones that its status records.

Ready is always present once something was reported; Stalled and Reconciling only while true (kstatus): Stalled while
something has to be changed, Reconciling while the controller tries again. Together they have at most 8 KiB.

What another version of the controller (or a person) wrote into them is recognised by `conditionsDigest`. It is not
parsed: it counts as one problem until each source was checked again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from git_events_runner.resources.job import timestamp

from .problems import (
    EARLIER,
    PARTS,
    RecordedProblem,
    RecordedWarning,
    forget_problems,
    keep_earlier,
    part_problem,
    record_earlier,
    source_problems,
    warnings_of,
)

CONDITIONS_BYTES = 8192
EARLIER_LIMIT = timedelta(hours=1)
_REPORTED = ("Ready", "Stalled", "Reconciling")
_NAMED = 5
_READY_BYTES, _WARNINGS_BYTES, _OTHER_BYTES, _CLONES_BYTES = 1800, 1000, 1800, 700
_EARLIER_TITLE = "reported before this version"


def conditions_of(status: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The conditions by type; invalid ones are left out."""
    listed = status.get("conditions") if isinstance(status, Mapping) else None
    if not isinstance(listed, list):
        return {}
    return {c["type"]: c for c in listed if isinstance(c, dict) and isinstance(c.get("type"), str)}


def is_ready(status: Mapping[str, Any] | None) -> bool | None:
    """Whether the condition Ready is true; None: it is not there."""
    ready = conditions_of(status).get("Ready")
    return None if ready is None else ready.get("status") == "True"


def is_derived(status: Mapping[str, Any] | None) -> bool:
    """Whether the conditions are those that were derived from the status when it was written last."""
    conditions = conditions_of(status)
    return "Ready" not in conditions or (status or {}).get("conditionsDigest") == _digest(conditions)


def adopt_conditions(status: dict[str, Any], sources: Collection[str], now: str | None) -> bool:
    """Take over conditions that something else wrote; True: an earlier problem that was taken over has ended.

    They take precedence over the record: problems that they do not report are over. What they report is kept as one
    problem until a check of each source has replaced it, for an hour at most.
    """
    ready = conditions_of(status).get("Ready")
    if ready is None or is_derived(status):
        return keep_earlier(status, () if _has_ended(status, now) else sources)
    forget_problems(status)
    if ready.get("status") == "False" and sources:
        problem = RecordedProblem(
            reason=str(ready.get("reason") or "Failed"),
            message=str(ready.get("message") or ""),
            stalled="Stalled" in conditions_of(status),
            since=now or str(ready.get("lastTransitionTime") or ""),
        )
        record_earlier(status, problem, sources)
    return False


def derive_conditions(status: dict[str, Any], now: str | None, generation: int | None) -> bool:
    """Rewrite conditions and `state` from the rest of the status; whether anything changed.

    A transition time changes only with its condition's status.
    """
    before = conditions_of(status)
    after = {name: one for name, one in before.items() if name not in {*_REPORTED, "CloneFailed"}}
    observed = status.get("observedGeneration")
    if not isinstance(observed, int):
        observed = generation
    for name, value, reason, message in (*_reported(status), *_clone_failed(status)):
        old = before.get(name) or {}
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        after[name] = {"type": name, "status": value, "reason": reason, "message": message}
        if observed is not None:
            after[name]["observedGeneration"] = observed
        after[name]["lastTransitionTime"] = since or now or old.get("lastTransitionTime")
    derived: dict[str, Any] = {}
    if "Ready" in after:
        state = status.get("state")
        idle = "Idle" if state in {"WrongConfig", None} else state
        derived = {"state": "WrongConfig" if "Stalled" in after else idle, "conditionsDigest": _digest(after)}
    if after == before and all(status.get(name) == value for name, value in derived.items()):
        return False
    status |= {"conditions": [after[name] for name in sorted(after)], **derived}
    return True


def _reported(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Ready, and Stalled and Reconciling if they hold (type, status, reason, message); none before the first report."""
    if "observedGeneration" not in status and "Ready" not in conditions_of(status):
        return
    parts = [(part, found) for part in PARTS if (found := part_problem(status, part)) is not None]
    sources, warnings = sorted(source_problems(status).items()), warnings_of(status)
    if parts or sources:
        lines = [_text(parts, sources, _READY_BYTES), *_warning_lines(warnings, _WARNINGS_BYTES)]
        yield "Ready", "False", _reason([*parts, *sources]), "\n".join(lines)
    else:
        lines = ["watching", *_warning_lines(warnings, _READY_BYTES)]
        yield "Ready", "True", warnings[0].reason if warnings else "Succeeded", "\n".join(lines)
    for name, stalled in (("Stalled", True), ("Reconciling", False)):
        of_parts = [one for one in parts if one[1].stalled is stalled]
        of_sources = [one for one in sources if one[1].stalled is stalled]
        if of_parts or of_sources:
            yield name, "True", _reason([*of_parts, *of_sources]), _text(of_parts, of_sources, _OTHER_BYTES)


def _clone_failed(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """CloneFailed, if it holds."""
    if clones := _failed_clones(status):
        lines = [_clone_line(*one) for one in clones]
        message = _listed([], lines, "clones failed", _CLONES_BYTES)
        yield "CloneFailed", "True", clone_reason(max(code for _, _, code in clones)), message


_CLONE_REASONS = {
    2: ("CloneMisconfigured", "the cloner cannot use what it was given"),
    3: ("CloneCredentialRefused", "the credential is missing or not accepted"),
    4: ("CloneNotFound", "there is no such repository, reference or commit"),
    5: ("CloneUnreachable", "the git server could not be reached"),
    7: ("CloneTooLarge", "the repository is larger than the installation lets a Job clone"),
}
_OTHER_CLONE = ("CloneFailed", "the repository could not be cloned")


def clone_reason(code: int) -> str:
    """The reason for an exit code of the cloner (`git_events_runner/cloner/__main__.py`).

    >>> clone_reason(3)
    'CloneCredentialRefused'
    """
    return _CLONE_REASONS.get(code, _OTHER_CLONE)[0]


def clone_words(code: int) -> str:
    """The same in words; the Job's log has more."""
    return f"{_CLONE_REASONS.get(code, _OTHER_CLONE)[1]}; the log of the Job's init container has details"


def _clone_line(source: str, job: str, code: int) -> str:
    return f"source {source}: {clone_words(code)} (Job {job}, exit code {code})"


def _failed_clones(status: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Source, Job and exit code of each last Job whose cloner failed."""
    entries = status.get("checkedSources")
    found = []
    for source, entry in sorted(entries.items()) if isinstance(entries, Mapping) else ():
        last = entry.get("lastJob") if isinstance(entry, Mapping) else None
        code = last.get("cloneExit") if isinstance(last, Mapping) else None
        if isinstance(last, Mapping) and isinstance(code, int) and not isinstance(code, bool):
            found.append((source, str(last.get("name")), code))
    return found


def _has_ended(status: Mapping[str, Any], now: str | None) -> bool:
    """Whether the earlier problem is so old that no check will replace it."""
    earlier = part_problem(status, EARLIER)
    since, moment = timestamp(earlier.since if earlier else None), timestamp(now)
    return since is not None and moment is not None and abs(moment - since) > EARLIER_LIMIT


def _digest(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Eight bytes that identify the derived conditions (11 characters)."""
    fields = ("status", "reason", "message")
    reported = [[name, *(conditions[name].get(field) for field in fields)] for name in _REPORTED if name in conditions]
    return base64.urlsafe_b64encode(hashlib.sha256(json.dumps(reported).encode()).digest()[:8]).decode().rstrip("=")


def _reason(problems: Sequence[tuple[str, RecordedProblem]]) -> str:
    """The reason of the latest problem; among several at that time, of one that only a change solves."""
    return max(problems, key=lambda one: (one[1].since, one[1].stalled, one[0]))[1].reason


def _text(
    parts: Sequence[tuple[str, RecordedProblem]], sources: Sequence[tuple[str, RecordedProblem]], limit: int
) -> str:
    """Problems of the trigger first, then the sources: a line each, or one line with the first of many sources."""
    titles = [(_EARLIER_TITLE if name == EARLIER else name, problem) for name, problem in parts]
    lines = [f"{title}: {problem.message}" for title, problem in titles]
    prefix = "" if len(sources) > _NAMED else "source "
    return _listed(lines, [f"{prefix}{name}: {problem.message}" for name, problem in sources], "sources fail", limit)


def _listed(lines: Sequence[str], each: Sequence[str], what: str, limit: int) -> str:
    """Lines, and one for each source, within a limit of bytes; many sources share one line that has the first ones."""
    share = limit // (len(lines) + min(len(each), _NAMED) + 1)
    listed = [_cut(line, share) for line in each[:_NAMED]]
    if len(each) > _NAMED:
        listed = [f"{len(each)} {what}: {'; '.join(listed)}; and {len(each) - _NAMED} more"]
    return "\n".join([*(_cut(line, share) for line in lines), *listed])


def _warning_lines(warnings: Sequence[RecordedWarning], limit: int) -> list[str]:
    """A line for each of the first ones, and how many more there are."""
    share = limit // (min(len(warnings), _NAMED) + 1)
    lines = [_cut(_warning_line(one), share) for one in warnings[:_NAMED]]
    return [*lines, f"and {len(warnings) - _NAMED} more warnings"] if len(warnings) > _NAMED else lines


def _warning_line(one: RecordedWarning) -> str:
    about = f"source {one.source}: " if one.source is not None else ""
    return f"warning {one.reason}: {about}{one.message}"


def _cut(text: str, limit: int) -> str:
    """The start of one line of a text that has at most `limit` bytes in JSON."""
    text = " ".join(text.split())
    if 3 * len(text) <= limit or sum(map(_bytes, text)) <= limit:
        return text
    left, kept = limit - 3, []
    for character in text:
        left -= _bytes(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _bytes(character: str) -> int:
    """Bytes of a character in JSON as the API server stores it, which escapes what HTML would."""
    if character in '"\\':
        return 2
    return 6 if character in "<>&\u2028\u2029" or not character.isprintable() else len(character.encode())


def names_in_spec(obj: Mapping[str, Any]) -> list[str] | None:
    """The sources that a trigger names as it is stored; None: that cannot be read."""
    spec = obj.get("spec")
    sources = spec.get("sources") if isinstance(spec, Mapping) else None
    names = sources.get("names") if isinstance(sources, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else None
