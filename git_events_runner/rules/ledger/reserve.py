"""Reserving the number of a run: the entry of its reference exists, and is not pruned while the Job is created.

New entries continue at `lastRunNumber`, which the pruned entries of all references raise. A Job with a number below it
would read as recorded, and its commit would run again. So a run's number is that of an entry which was written so short
a time ago that it stays (`number_reserved` in the model).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from git_events_runner.resources.job import timestamp

from .entry import Entry, entry_of
from .mutations import Guards, Outcome, draft, rfc3339

PRUNED_AFTER = timedelta(minutes=3)
_RESERVED = timedelta(minutes=1)  # the rest of the time is for the request that creates the Job, and for clocks


def last_times(entry: Entry) -> list[datetime]:
    """When an entry changed and when a delivery announced something for it; it stays for a while after each."""
    times = [timestamp(text) for text in (entry.changed, entry.announced.at if entry.announced else None)]
    return [moment for moment in times if moment is not None]


def is_reserved(entry: Entry, now: datetime) -> bool:
    """Whether the next number of an entry is that of its next run; an entry with a commit is not pruned at all."""
    if not entry.exists:
        return False
    return entry.commit is not None or any(abs(now - moment) <= _RESERVED for moment in last_times(entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """The entry of a reference that is about to run, without a commit yet."""

    source: str
    expected: tuple[int, str | None]
    now: datetime

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Write the entry with its number and the time, unless a run or a commit was recorded meanwhile."""
        before = entry_of(status, self.source)
        if before.key != self.expected:
            return Outcome.STALE
        if is_reserved(before, self.now):
            return Outcome.DONE
        draft(status, self.source)["changed"] = rfc3339(self.now)
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the reference."""
        return Guards(ledger=frozenset({self.source}))
