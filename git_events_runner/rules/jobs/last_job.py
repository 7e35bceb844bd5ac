"""Phases of Jobs in a trigger's status: of the last recorded run of each source (`lastJob`), and in the history.

Why the controller deletes a Job is recorded in it before the request, so that no crash hides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.job import UNFINISHED_PHASES
from git_events_runner.rules.history import RunState, enter_states, unfinished_runs
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Guards, Outcome

EXPIRED = "Expired"
GONE = "Gone"  # deleted while no replica was the leader


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPhase:
    """The phase of one Job of a source, where the entry names that Job as its last one, and in its history."""

    source: str
    job: str
    phase: str
    finished: str | None = None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Set `lastJob.phase`, and the phase of the run in the history."""
        entered = enter_states(status, {self.job: RunState(phase=self.phase, finished=self.finished)})
        shown = self._show(status)
        return Outcome.WRITE if entered else shown

    def _show(self, status: dict[str, Any]) -> Outcome:
        if entry_of(status, self.source).job_name != self.job:
            return Outcome.DONE
        last = status["checkedSources"][self.source]["lastJob"]
        if last.get("phase") == self.phase:
            return Outcome.DONE
        status["checkedSources"][self.source]["lastJob"] = {**last, "phase": self.phase}
        return Outcome.WRITE

    def guards(self) -> Guards:
        """The source whose Job it is."""
        return Guards(ledger=frozenset({self.source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """The leader's state of the Jobs in the history, by their names."""

    states: Mapping[str, RunState]

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Add it where the history has these Jobs."""
        return Outcome.WRITE if enter_states(status, self.states) else Outcome.DONE

    def guards(self) -> Guards:
        """The patch tests the history itself."""
        return Guards()


def is_recorded_expired(status: Mapping[str, Any] | None, source: str, job: str) -> bool:
    """Whether the status records that the Job waited too long: it is deleted, or will be.

    >>> entry = {"lastJob": {"name": "hook-a", "phase": "Expired"}}
    >>> is_recorded_expired({"checkedSources": {"app": entry}}, "app", "hook-a")
    True
    >>> is_recorded_expired({"checkedSources": {"app": entry}}, "app", "hook-b")
    False
    """
    if entry_of(status, source).job_name != job:
        return False
    return bool((status or {})["checkedSources"][source]["lastJob"].get("phase") == EXPIRED)


def shown_phase(status: Mapping[str, Any] | None, source: str, job: str, phase: str) -> str:
    """The phase to show for a Job in `phase`: a Job that waits and will be deleted stays Expired."""
    return EXPIRED if phase == "Queued" and is_recorded_expired(status, source, job) else phase


def unfinished_jobs(status: Mapping[str, Any] | None) -> dict[str, str]:
    """Names of the Jobs that a status shows as waiting or running, each with its source.

    >>> unfinished_jobs({"checkedSources": {"app": {"lastJob": {"name": "hook-a", "phase": "Queued"}}}})
    {'hook-a': 'app'}
    """
    entries = (status or {}).get("checkedSources")
    jobs = {
        source: entry.get("lastJob")
        for source, entry in (entries.items() if isinstance(entries, Mapping) else ())
        if isinstance(entry, Mapping)
    }
    last = {
        str(job.get("name")): source
        for source, job in jobs.items()
        if isinstance(job, Mapping) and job.get("phase") in UNFINISHED_PHASES
    }
    return unfinished_runs(status) | last
