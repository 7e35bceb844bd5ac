"""`status.history`: the last runs of a trigger, newest first, within 4 KiB.

A run is added by the write that settles it; its Job's state is written with the phase. A check that finds nothing
writes nothing. The list is for people and tools: no decision of the ledger depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from git_events_runner.resources.job import UNFINISHED_PHASES, JobView

HISTORY = "history"
COMMIT_CHARS = 12
BUDGET_BYTES = 3584  # replicas that settle at the same time add one more each, within 4 KiB
_ENDS = frozenset(("Succeeded", "Failed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What is known of the Job of a run: its phase, its times (RFC 3339), and the exit code of a failed container."""

    phase: str
    started: str | None = None
    finished: str | None = None
    exit_code: int | None = None

    @classmethod
    def of(cls, job: JobView, phase: str | None = None) -> RunState:
        """The state of a Job; `phase` replaces its own."""
        return cls(
            phase=phase or job.phase,
            started=_moment(job.started_at),
            finished=_moment(job.ended_at),
            exit_code=job.failure.exit_code if job.failure else None,
        )

    def entered(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record of the run with this state; unknown values do not change."""
        known = {"started": self.started, "finished": self.finished, "exitCode": self.exit_code}
        if self.phase in UNFINISHED_PHASES:
            record = {name: value for name, value in record.items() if name not in {"finished", "exitCode"}}
        found = {name: value for name, value in known.items() if value is not None}
        return {**record, "phase": self.phase} | found


def record_of(name: str, job: JobView) -> dict[str, Any] | None:
    """The record of a Job's run, None if it is no run."""
    if job.run is None:
        return None
    record = {
        "number": job.run.number,
        "source": job.run.source,
        "commit": (job.commit or "")[:COMMIT_CHARS] or None,
        "author": job.author,
        "subject": job.subject,
        "reason": job.reason,
        "job": name,
        "attempt": str(job.attempt) if job.attempt.number > 1 else None,
        "queued": _moment(job.created_at),
    }
    return RunState.of(job).entered({name: value for name, value in record.items() if value is not None})


def records_of(status: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The records in a status, newest first; invalid ones are left out."""
    found = (status or {}).get(HISTORY)
    return [dict(one) for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def unfinished_runs(status: Mapping[str, Any] | None) -> dict[str, str]:
    """Names of the Jobs that are recorded as waiting or running, each with its source.

    >>> unfinished_runs({"history": [{"job": "hook-a", "source": "app", "phase": "Running"}]})
    {'hook-a': 'app'}
    """
    return {
        str(one["job"]): str(one.get("source"))
        for one in records_of(status)
        if one.get("phase") in UNFINISHED_PHASES and one.get("job")
    }


def recorded_phase(status: Mapping[str, Any] | None, job: str) -> str | None:
    """The recorded phase of a run, by the name of its Job."""
    return next((one.get("phase") for one in records_of(status) if one.get("job") == job), None)


def remember(status: dict[str, Any], record: Mapping[str, Any], limit: int) -> None:
    """Add a run in the order of times, and remove the oldest beyond the limit and the budget."""
    others = [one for one in records_of(status) if one.get("job") != record.get("job")]
    at = next((n for n, one in enumerate(others) if _order(one) <= _order(record)), len(others))
    status[HISTORY] = _within([*others[:at], dict(record), *others[at:]], limit)


def enter_states(status: dict[str, Any], states: Mapping[str, RunState]) -> bool:
    """Update the records of these Jobs with what is known; whether anything changed."""
    before = records_of(status)
    after = [states[one["job"]].entered(one) if one.get("job") in states else one for one in before]
    if after == before:
        return False
    status[HISTORY] = _within(after, len(after))
    return True


def is_kept(recorded: str | None, job: JobView) -> bool:
    """Whether a recorded phase stays: why the controller deletes a Job that still waits, or is being deleted."""
    known = recorded is not None and recorded not in UNFINISHED_PHASES | _ENDS
    return known and (job.phase == "Queued" or job.deleting)


def effective_limit(wanted: object, *, default: int, most: int) -> int:
    """How many runs are kept: `spec.historyLimit`, else the runtime config's default, and never more than its bound.

    >>> effective_limit(None, default=10, most=20), effective_limit(50, default=10, most=20)
    (10, 20)
    """
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 0:
        return min(wanted, most)
    return min(default, most)


def _within(records: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    kept, size = [], 2
    for record in records[: max(limit, 0)]:
        size += len(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()) + 1
        if size > BUDGET_BYTES:
            break
        kept.append(record)
    return kept


def _order(record: Mapping[str, Any]) -> tuple[str, int]:
    number = record.get("number")
    return str(record.get("queued") or ""), number if isinstance(number, int) else 0


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else None
