"""The run ledger: every change of a trigger's status as a value that can be applied again to a fresh read.

The Jobs are the log and the status is what was settled from it (ARCHITECTURE.md, "The run ledger"). Each mutation is
applied to the status just read: it has to be written, is done already, or is stale (its tests fail). So a read decides
a write of unknown outcome, and writers of two replicas never undo one another. The transitions have the names of
tests/model/ledger.py; `entry` reads what they depend on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from git_events_runner.resources.history import HISTORY_DEFAULT
from git_events_runner.resources.job import UNFINISHED_PHASES, JobView, timestamp
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.history import HISTORY, record_of, remember
from git_events_runner.rules.ignored import Ignored
from git_events_runner.rules.pull_requests import FIELD as PULL_REQUEST
from git_events_runner.rules.pull_requests import PullRecord

from .deliveries import DELIVERIES_KEPT, HASH_CHARS, delivery_known
from .entry import entry_of, highest_number, stored_text
from .stored_times import lies_ahead, lies_later
from .stored_times import rfc3339 as rfc3339  # noqa: PLC0414  most modules import it from here


class Outcome(Enum):
    """The result of a mutation that is applied to a status."""

    WRITE = "write"
    DONE = "done"
    STALE = "stale"


class Mutation(Protocol):
    """A change of one trigger's status."""

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Change `status` in place and return WRITE; or do not change it and return DONE or STALE."""

    def guards(self) -> Guards:
        """What the write must find unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Fields that a write tests: `ledger` sources on runs and commitHash, `counted` sources on `requested` too."""

    ledger: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    conditions: bool = False
    complete: bool = False

    def __or__(self, other: Guards) -> Guards:
        """Both together, for writes that share one request."""
        return Guards(
            ledger=self.ledger | other.ledger,
            counted=self.counted | other.counted,
            conditions=self.conditions or other.conditions,
            complete=self.complete or other.complete,
        )


def draft(status: dict[str, Any], source: str, *, adopt: bool = True) -> dict[str, Any]:
    """The entry to change, with every field present that later writes test (or insert into, as into the history).

    An entry of v0.4 gets its run number, which ends its adoption, only from a check of its source.
    """
    before = entry_of(status, source)
    entries = status.get("checkedSources")
    if not isinstance(entries, dict):
        entries = status["checkedSources"] = {}
    if not isinstance(status.get(HISTORY), list):
        status[HISTORY] = []
    entry = entries.get(source)
    if not isinstance(entry, dict):
        entry = entries[source] = {}
    for name in ("commitHash", "fileHash", "changed"):
        entry.setdefault(name, None)
    entry["requested"], entry["handled"] = before.requested, before.handled
    if adopt or not before.adopted:
        entry["runs"] = before.runs
    elif "runs" in entry:
        del entry["runs"]  # no number at all
    return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A delivery, at `at`, requests checks: source → commit announced for it, if any.

    It is recognised by its own hash, if it is repeated and if the outcome of a write is unknown. `pulls` is what it
    reports of pull requests, by key: it replaces the record of an earlier event (`late_ignored` in the model).
    """

    requests: Mapping[str, str | None]
    delivery: str
    at: str
    pulls: Mapping[str, PullRecord] = field(default_factory=dict)

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Raise `requested` by one for each source, once for each delivery."""
        if delivery_known(status, self.delivery):
            return Outcome.DONE
        text = status.get("deliveries")
        kept = text if isinstance(text, str) and len(text) % HASH_CHARS == 0 else ""
        status["deliveries"] = (kept + self.delivery)[-DELIVERIES_KEPT * HASH_CHARS :]
        for source, commit in self.requests.items():
            entry = draft(status, source, adopt=False)
            entry["requested"] += 1
            known, pull = PullRecord.of(entry.get(PULL_REQUEST)), self.pulls.get(source)
            if pull is not None and not pull.follows(known):
                continue
            entry["announced"] = {"commit": commit, "at": self.at}
            if pull is not None:
                entry[PULL_REQUEST] = pull.as_json
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Counting is lost when two replicas count at the same time: `requested` and the ids are tested."""
        return Guards(counted=frozenset(self.requests))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Record a Job as a run: from its annotations, independent of its creator."""

    source: str
    number: int
    commit: str
    file_hash: str | None
    request: int | None
    answered_at: str | None
    job: str
    phase: str
    changed: str
    now: str | None = None
    run_request: int | None = None
    record: Mapping[str, Any] | None = None
    history_limit: int = HISTORY_DEFAULT
    deleted: bool = False
    retry: bool = False

    @classmethod
    def from_job(cls, name: str, job: JobView, *, now: datetime) -> Settle | None:
        """The settlement of a Job of ours; None when its annotations are not ours or incomplete."""
        if job.run is None or not job.commit:
            return None
        created_at = job.created_at or now
        due = timestamp(job.due_at)
        return cls(
            source=job.run.source,
            number=job.run.number,
            commit=job.commit,
            file_hash=job.file_hash,
            request=job.request,
            answered_at=rfc3339(created_at) if due is not None and lies_ahead(due, created_at) else job.due_at,
            job=name,
            phase=job.phase,
            changed=rfc3339(created_at),
            now=rfc3339(now),
            run_request=job.run_request,
            record=record_of(name, job),
            deleted=job.reason == CheckResult.FIRE_DELETED,
            retry=job.reason == "retry",
        )

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record the run; `handled` becomes the Job's own request number even if that lowers it.

        Of the requested runs, those up to the Job's own number have a Job (the model's `asked_of_job`).
        """
        before = entry_of(status, self.source)
        if before.runs >= self.number:
            return Outcome.DONE
        highest = highest_number(status, self.source)
        if highest is not None and self.number > highest:
            return Outcome.STALE
        entry = draft(status, self.source)
        entry["runs"] = self.number
        if self.commit != before.commit or self.deleted:
            entry["changed"] = self.changed
        entry["commitHash"], entry["fileHash"] = (None, None) if self.deleted else (self.commit, self.file_hash)
        if before.missing_since:
            entry["missingSince"] = None
        if self.request is not None:
            entry["handled"] = min(self.request, before.requested)
        if self.answered_at and not lies_later(before.answered_at, self.answered_at, self.now):
            entry["answeredAt"] = self.answered_at
        if self.run_request is not None:
            entry["runHandled"] = max(before.run_handled, min(self.run_request, before.run_requested))
        entry["lastStart"] = self.changed
        _end_wait(entry, retry=self.retry)
        entry.pop("ignored", None)
        entry["lastJob"] = {"name": self.job, "phase": self.phase, "commit": self.commit}
        if self.phase in UNFINISHED_PHASES:
            status["state"] = "Running"
        else:
            status.setdefault("state", "Idle")
        status["lastRun"] = self.changed
        if self.record is not None:
            remember(status, self.record, self.history_limit)
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the source."""
        return Guards(ledger=frozenset({self.source}))


def _end_wait(entry: dict[str, Any], *, retry: bool) -> None:
    """A run ends a wait; a retry, which has the commit before, does not (`retry_keeps_wait` in the model)."""
    if not retry:
        entry.pop("waiting", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A check found nothing to run: requests up to its reading are handled, a commit with the same files is recorded.

    `commit` differs from the recorded one when the selected files are the same (or v0.4 recorded the tag object, or
    `ignored`): the new commit is then recorded without a run (skip_commit in the model).
    """

    source: str
    expected: tuple[int, str | None]
    handled: int
    commit: str | None
    file_hash: str | None
    changed: str | None = None
    answered_at: str | None = None
    now: str | None = None
    ignored: Ignored | None = None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Mark requests handled, never lowering; refuse when a run or another commit was recorded meanwhile."""
        before = entry_of(status, self.source)
        if before.key != self.expected:
            return Outcome.STALE
        handled = max(before.handled, min(self.handled, before.requested))
        if handled == before.handled and self.commit == before.commit and not before.adopted:
            return Outcome.DONE
        entry = draft(status, self.source)
        entry["handled"] = handled
        entry["commitHash"] = self.commit
        if self.commit != before.commit:
            entry["fileHash"] = self.file_hash
            entry["changed"] = self.changed
            entry.pop("ignored", None)
        if self.ignored is not None:
            entry["ignored"] = self.ignored.record
        if self.answered_at and not lies_later(before.answered_at, self.answered_at, self.now):
            entry["answeredAt"] = self.answered_at
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the source: otherwise an older response of git could undo a newer run."""
        return Guards(ledger=frozenset({self.source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Scheduled times that checks handled without a change, by source; `at` is when the last such check ended.

    `lastRun` is coarse: at most one write in ten minutes. An edited schedule moves only the times (`at` is None).
    """

    at: str | None
    answered: Mapping[str, str]
    now: str | None = None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Move `lastRun` and each `answeredAt` forward."""
        outcome = Outcome.DONE
        if self.at and not lies_later(stored_text(status.get("lastRun")), self.at, self.now):
            status["lastRun"] = self.at
            outcome = Outcome.WRITE
        for source, due in self.answered.items():
            known = entry_of(status, source)
            if not known.exists or known.adopted or known.answered_at == due:
                continue
            if not lies_later(known.answered_at, due, self.now):
                status["checkedSources"][source]["answeredAt"] = due
                outcome = Outcome.WRITE
        return outcome

    def guards(self) -> Guards:
        """The sources whose `answeredAt` moves."""
        return Guards(ledger=frozenset(self.answered))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The leader's state of the Jobs: `state`, and the phase of each source's last Job."""

    running: bool
    phases: Mapping[str, tuple[str, str]]

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Set the phase where the entry still names that Job; `WrongConfig` stays until its cause is removed."""
        changed = False
        for source, (name, phase) in self.phases.items():
            if entry_of(status, source).job_name != name:
                continue
            job = status["checkedSources"][source]["lastJob"]
            if job.get("phase") != phase:
                status["checkedSources"][source]["lastJob"] = {**job, "phase": phase}
                changed = True
        state = "Running" if self.running else "Idle" if status.get("state") == "Running" else status.get("state")
        if status.get("state") != state:
            status["state"] = state
            changed = True
        return Outcome.WRITE if changed else Outcome.DONE

    def guards(self) -> Guards:
        """The sources whose Job is named."""
        return Guards(ledger=frozenset(self.phases))
