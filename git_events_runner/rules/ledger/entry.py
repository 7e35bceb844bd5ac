"""One source's entry in a trigger's status, read: strange values read as absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from git_events_runner.resources.status import LEDGER_MAX
from git_events_runner.rules.pull_requests import FIELD as PULL_REQUEST
from git_events_runner.rules.pull_requests import PullRecord
from git_events_runner.rules.waiting import Waiting

RAISED = LEDGER_MAX // 10
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """When a delivery was recorded (RFC 3339), and the commit that it announced, if it named one."""

    commit: str | None
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`status.checkedSources[source]`; `adopted` means that v0.4 wrote it (no run number yet)."""

    exists: bool
    adopted: bool
    runs: int
    commit: str | None
    file_hash: str | None
    changed: str | None
    requested: int
    handled: int
    run_requested: int
    run_handled: int
    announced: Announced | None
    answered_at: str | None
    job_name: str | None
    missing_since: str | None = None
    last_start: str | None = None
    waiting: Waiting | None = None
    pull: PullRecord | None = None

    @property
    def key(self) -> tuple[int, str | None]:
        """What decisions use and writes test: the highest settled run, and the commit."""
        return (self.runs, self.commit)

    @property
    def run_is_due(self) -> bool:
        """Whether a run that was requested by annotation has not been created yet."""
        return self.run_requested > self.run_handled

    @property
    def is_open(self) -> bool:
        """Whether a request for a check or for a run is not handled yet."""
        return self.requested > self.handled or self.run_is_due


def highest_number(
    status: Mapping[str, Any] | None, source: str, *, named: Callable[[], bool] = lambda: True
) -> int | None:
    """The highest number that a run of the source can have: the recorded one and the next; None means any.

    An entry that records no run yet (new, wiped by a restore, or v0.4's) allows any (`allows` in the model). For a
    source that is neither on record nor `named`, only numbers up to `lastRunNumber` were used. It is called for every
    Job in every pass of the queue, so it reads no more than that.
    """
    status = status if isinstance(status, Mapping) else {}
    entries = status.get("checkedSources")
    entry = entries.get(source) if isinstance(entries, Mapping) else None
    if not isinstance(entry, Mapping) or not _is_record(entry):
        return None if named() else _run_number(status.get("lastRunNumber")) or 0
    runs = entry.get("runs")
    if _run_number(runs) is None or not stored_text(entry.get("commitHash")):
        return None
    return (_run_number(runs) or 0) + 1


def is_number(value: object) -> bool:
    """Whether a status can hold that number: one written by hand or by a restore may be anything.

    >>> is_number(7), is_number(2**63 - 1), is_number(-1), is_number(True)
    (True, False, False, False)
    """
    return type(value) is int and 0 <= value < LEDGER_MAX


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value < LEDGER_MAX else 0


def _run_number(value: object) -> int | None:
    """A number of runs. One that is too high reads as above every Job (`edited_raises` in the model), others as none.

    Reading it as none would let the Jobs of runs that were recorded long ago be recorded again.
    """
    if type(value) is not int or value < 0:
        return None
    return value if value < LEDGER_MAX else RAISED


def stored_text(value: object) -> str | None:
    """A text of a status; None when it is empty or of another type."""
    return value if isinstance(value, str) and value else None


def _mapping(value: object) -> Mapping[str, Any]:
    """An object of a status; empty when it is of another type. Those of the API server are dictionaries."""
    if isinstance(value, dict):
        return value
    return value if isinstance(value, Mapping) else _EMPTY


def entry_of(status: Mapping[str, Any] | None, source: str) -> Entry:
    """Read one source's entry; strange values read as absent. New entries start at `lastRunNumber`.

    Nothing above `requested` is handled, independent of the status: later deliveries would never run.
    """
    status = _mapping(status)
    raw = _mapping(status.get("checkedSources")).get(source)
    found, data = _is_record(raw), _mapping(raw)
    announced, last_job = _mapping(data.get("announced")), _mapping(data.get("lastJob"))
    at, commit = stored_text(announced.get("at")), stored_text(data.get("commitHash"))
    runs, requested = _run_number(data.get("runs")), _number(data.get("requested"))
    run_requested = _number(data.get("runRequested"))
    return Entry(
        exists=found,
        adopted=found and runs is None and commit is not None,
        runs=runs if runs is not None else _run_number(status.get("lastRunNumber")) or 0,
        commit=commit,
        file_hash=stored_text(data.get("fileHash")),
        changed=stored_text(data.get("changed")),
        requested=requested,
        handled=min(_number(data.get("handled")), requested),
        run_requested=run_requested,
        run_handled=min(_number(data.get("runHandled")), run_requested),
        announced=Announced(commit=stored_text(announced.get("commit")), at=at) if at else None,
        answered_at=stored_text(data.get("answeredAt")),
        job_name=stored_text(last_job.get("name")),
        missing_since=stored_text(data.get("missingSince")),
        last_start=stored_text(data.get("lastStart")),
        waiting=Waiting.of(data.get("waiting")),
        pull=PullRecord.of(data.get(PULL_REQUEST)),
    )


def _is_record(entry: object) -> bool:
    """Whether an entry records anything of the ledger: one that only has a problem reads as none."""
    if not isinstance(entry, dict) and not isinstance(entry, Mapping):
        return False
    return len(entry) != 1 or "problem" not in entry


def run_number_after(entry: Entry) -> int:
    """The number of the next run."""
    return entry.runs + 1
