"""What a trigger's conditions say: one line for each source that has a problem, gone when that source succeeds.

Ready is always there; Stalled and Reconciling only while true (kstatus): Stalled when somebody has to change something,
Reconciling when the program itself tries again. Warnings stand in Ready's message and hinder nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .ledger import Guards, Outcome

WEBHOOK = "webhook"
_LINE_CHARS = 600
_MESSAGE_CHARS = 8000
_WARNING = re.compile(r"warning (\w+): ")
_SOURCE_WARNING = re.compile(r"warning (\w+): source (\S+): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something did not run: a reason from the one list, a message for a person, and who has to act."""

    reason: str
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a check of `source` (None: of a part of the trigger); no problem clears the line about it."""

    source: str | None
    problem: Problem | None
    generation: int
    now: str
    part: str = "trigger"

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Rewrite the conditions if they change; a transition time moves only with its status."""
        before = conditions_of(status)
        stalled = _lines(before.get("Stalled"))
        retried = _lines(before.get("Reconciling"))
        subject = f"source {self.source}" if self.source is not None else self.part
        for lines in (stalled, retried):
            lines.pop(subject, None)
        if self.problem:
            (stalled if self.problem.stalled else retried)[subject] = problem_line(self.problem)
        reason = self.problem.reason if self.problem else ""
        after: dict[str, dict[str, Any]] = {
            name: condition for name, condition in before.items() if name not in {"Ready", "Stalled", "Reconciling"}
        }
        problems = stalled | retried
        old_reason = str((before.get("Ready") or {}).get("reason") or "")
        if problems:
            kept = reason or (old_reason if old_reason != "Succeeded" else "Failed")
            self._set(after, before, "Ready", "False", kept, _text(problems), *warnings_of(before))
        else:
            warnings = warnings_of(before)
            self._set(after, before, "Ready", "True", _reason(warnings), "watching", *warnings)
        for name, lines in (("Stalled", stalled), ("Reconciling", retried)):
            if lines:
                mine = reason if subject in lines else ""
                old = str((before.get(name) or {}).get("reason") or old_reason or "Failed")
                self._set(after, before, name, "True", mine or old, _text(lines))
        state = status.get("state")
        if stalled:
            state = "WrongConfig"
        elif state in {"WrongConfig", None}:
            state = "Idle"
        if after == before and state == status.get("state") and status.get("observedGeneration") == self.generation:
            return Outcome.DONE
        status["conditions"] = [after[name] for name in sorted(after)]
        status["state"] = state
        status["observedGeneration"] = self.generation
        return Outcome.WRITE

    def _set(
        self,
        after: dict[str, dict[str, Any]],
        before: Mapping[str, Mapping[str, Any]],
        name: str,
        value: str,
        reason: str,
        *lines: str,
    ) -> None:
        old = before.get(name) or {}
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        after[name] = {
            "type": name,
            "status": value,
            "reason": reason,
            "message": "\n".join(lines)[:_MESSAGE_CHARS],
            "observedGeneration": self.generation,
            "lastTransitionTime": since or self.now,
        }

    def guards(self) -> Guards:
        """The conditions: what another replica said of another source meanwhile must not be undone."""
        return Guards(conditions=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """A line in Ready's message that hinders nothing, about `source` (None: the trigger); no message takes it away."""

    reason: str
    source: str | None
    message: str | None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Rewrite that line; where no look was reported yet, the first one will be."""
        conditions = conditions_of(status)
        ready = conditions.get("Ready")
        if ready is None:
            return Outcome.DONE
        start = f"warning {self.reason}: " + (f"source {self.source}: " if self.source is not None else "")
        before = warnings_of(conditions)
        after = [line for line in before if not line.startswith(start)]
        if self.message is not None:
            after = sorted([*after, start + " ".join(self.message.split())[:_LINE_CHARS]])
        if after == before:
            return Outcome.DONE
        rest = [line for line in str(ready.get("message") or "").split("\n") if not _WARNING.match(line)]
        changed = ready | {"message": "\n".join([*rest, *after])[:_MESSAGE_CHARS]}
        if ready.get("status") == "True":
            changed["reason"] = _reason(after)
        status["conditions"] = [changed if c is ready else c for c in conditions.values()]
        return Outcome.WRITE

    def guards(self) -> Guards:
        """The conditions, as for reports."""
        return Guards(conditions=True)


def warnings_of(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of Ready's message that are warnings."""
    lines = str((conditions.get("Ready") or {}).get("message") or "").split("\n")
    return [line for line in lines if _WARNING.match(line)]


def problem_line(problem: Problem) -> str:
    """A problem as its line in a condition has it, behind the subject."""
    return " ".join(problem.message.split())[:_LINE_CHARS]


def webhook_problem(status: Mapping[str, Any] | None) -> str | None:
    """The line that says why no request to the trigger can authenticate, if there is one."""
    return _lines(conditions_of(status).get("Reconciling")).get(WEBHOOK)


def sources_told(status: Mapping[str, Any] | None, kind: str) -> frozenset[str]:
    """The sources that a condition (Stalled, Reconciling) has lines about."""
    subjects = _lines(conditions_of(status).get(kind))
    return frozenset(subject.removeprefix("source ") for subject in subjects if subject.startswith("source "))


def sources_warned(status: Mapping[str, Any] | None) -> frozenset[tuple[str, str]]:
    """Reason and source of each warning about a source."""
    lines = warnings_of(conditions_of(status))
    return frozenset((found[1], found[2]) for line in lines if (found := _SOURCE_WARNING.match(line)))


def _reason(warnings: list[str]) -> str:
    found = _WARNING.match(warnings[0]) if warnings else None
    return found[1] if found else "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneReport:
    """Whether the last Job of each of these sources failed at cloning: its cloner's exit code, None when it did not.

    What was said of sources without a record goes.
    """

    exits: Mapping[str, tuple[str, int | None]]
    generation: int
    now: str

    def apply(self, status: dict[str, Any]) -> Outcome:
        """One line for each source in the condition CloneFailed, which is gone when the last line is."""
        conditions = conditions_of(status)
        old = conditions.get("CloneFailed")
        entries = status.get("checkedSources") or {}
        lines = {subject: text for subject, text in _lines(old).items() if subject.removeprefix("source ") in entries}
        for source, (job, code) in self.exits.items():
            lines.pop(f"source {source}", None)
            if code is not None:
                lines[f"source {source}"] = f"{clone_words(code)} (Job {job}, exit code {code})"
        reasons = {clone_reason(code) for _, code in self.exits.values() if code is not None}
        if not lines:
            conditions.pop("CloneFailed", None)
        elif lines != _lines(old):
            conditions["CloneFailed"] = {
                "type": "CloneFailed",
                "status": "True",
                "reason": reasons.pop() if len(reasons) == 1 else str((old or {}).get("reason") or "CloneFailed"),
                "message": _text(lines),
                "observedGeneration": self.generation,
                "lastTransitionTime": str((old or {}).get("lastTransitionTime") or self.now),
            }
        if conditions == conditions_of(status):
            return Outcome.DONE
        status["conditions"] = [conditions[name] for name in sorted(conditions)]
        return Outcome.WRITE

    def guards(self) -> Guards:
        """The sources whose Jobs are told of, and the conditions."""
        return Guards(ledger=frozenset(self.exits), conditions=True)


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
    """The same in words; the Job's log says more."""
    return f"{_CLONE_REASONS.get(code, _OTHER_CLONE)[1]}; the log of the Job's init container has details"


def conditions_of(status: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The conditions by type; what is not one is left out."""
    listed = (status or {}).get("conditions")
    if not isinstance(listed, list):
        return {}
    return {c["type"]: c for c in listed if isinstance(c, dict) and isinstance(c.get("type"), str)}


def _lines(condition: Mapping[str, Any] | None) -> dict[str, str]:
    if not condition or condition.get("status") != "True":
        return {}
    lines: dict[str, str] = {}
    for line in str(condition.get("message") or "").split("\n"):
        subject, found, text = line.partition(": ")
        if found:
            lines[subject] = text
    return lines


def _text(lines: Mapping[str, str]) -> str:
    """What concerns the whole trigger comes first, as the last lines of too many are cut."""
    ordered = sorted(lines, key=lambda subject: (subject.startswith("source "), subject))
    return "\n".join(f"{subject}: {lines[subject]}" for subject in ordered)[:_MESSAGE_CHARS]
