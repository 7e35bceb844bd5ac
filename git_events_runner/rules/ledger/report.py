"""What is reported of a trigger: problems, warnings and failed clones, each as a mutation of its status.

A report changes only what is recorded (`rules/problems`); `statuspatch.combine` derives the conditions at its end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.rules.derived_conditions import conditions_of, is_derived, is_ready
from git_events_runner.rules.problems import (
    TRIGGER,
    Problem,
    earlier_sources,
    is_same,
    keep_earlier,
    problem_of,
    record_problem,
    record_warning,
)
from git_events_runner.rules.references import source_of

from .mutations import Guards, Outcome

__all__ = ["CloneReport", "Problem", "Report", "Warn", "is_news", "nothing_to_clear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a check of `source` (None: of a part of the trigger), with its problem, if any."""

    source: str | None
    problem: Problem | None
    generation: int
    now: str
    part: str = TRIGGER

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record the problem, or its end."""
        changed = record_problem(status, self.source, self.part, self.problem, self.now)
        if self.source is not None:
            changed |= keep_earlier(
                status, [name for name in earlier_sources(status) if name != source_of(self.source)]
            )
        if status.get("observedGeneration") != self.generation:
            status["observedGeneration"] = self.generation
            changed = True
        return Outcome.WRITE if changed else Outcome.DONE

    def guards(self) -> Guards:
        """The conditions: what another replica reported of another source meanwhile must not be undone."""
        return Guards(conditions=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """A warning, which does not affect Ready, about `source` (None: the trigger); without a message its end.

    `generation` is the generation that it describes, if that limits how long it holds.
    """

    reason: str
    source: str | None
    message: str | None
    generation: int | None = None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record the warning; if no check was reported yet, the first report includes it."""
        if "observedGeneration" not in status and "Ready" not in conditions_of(status):
            return Outcome.DONE
        changed = record_warning(status, self.reason, self.source, self.message, self.generation)
        return Outcome.WRITE if changed else Outcome.DONE

    def guards(self) -> Guards:
        """The conditions, as for reports."""
        return Guards(conditions=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneReport:
    """Whether the last Job of each of these sources failed at cloning: its cloner's exit code, None when it did not."""

    exits: Mapping[str, tuple[str, int | None]]
    generation: int
    now: str

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record the exit codes in `lastJob` where it is that Job."""
        changed = False
        for source, (job, code) in self.exits.items():
            entry = (status.get("checkedSources") or {}).get(source)
            last = entry.get("lastJob") if isinstance(entry, dict) else None
            if entry is None or not isinstance(last, dict) or last.get("name") != job or last.get("cloneExit") == code:
                continue
            known = {name: value for name, value in last.items() if name != "cloneExit"}
            entry["lastJob"] = known if code is None else known | {"cloneExit": code}
            changed = True
        return Outcome.WRITE if changed else Outcome.DONE

    def guards(self) -> Guards:
        """The sources whose Jobs are reported, and the conditions."""
        return Guards(ledger=frozenset(self.exits), conditions=True)


def is_news(status: Mapping[str, Any] | None, source: str, problem: Problem) -> bool:
    """Whether the status does not have this problem of a source yet."""
    return is_ready(status) is not False or not is_same(problem_of(status, source), problem) or not is_derived(status)


def nothing_to_clear(status: Mapping[str, Any] | None, generation: int, source: str) -> bool:
    """Whether a check of a source that found no problem does not change the conditions."""
    if (status or {}).get("observedGeneration") != generation:
        return False
    ready = is_ready(status)
    if ready is None or ready:
        return bool(ready)
    return (
        problem_of(status, source) is None and source_of(source) not in earlier_sources(status) and is_derived(status)
    )


def reported_at(mutations: Collection[object]) -> tuple[str | None, int | None]:
    """When the last of the reports among mutations was given, and the generation that it describes."""
    reports = [one for one in mutations if isinstance(one, Report | CloneReport)]
    return max((one.now for one in reports), default=None), reports[-1].generation if reports else None
