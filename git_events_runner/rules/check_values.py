"""The values of a check: what caused it, what the spec demands, what it observed, and what is to be done.

`decision` derives the last from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from git_events_runner.resources.commits import CommitText
from git_events_runner.resources.ignore import Ignore
from git_events_runner.rules.ledger.entry import Entry
from git_events_runner.rules.ledger.mutations import Mutation

from .check_result import CheckResult
from .references import is_pull
from .selection import Selection
from .waits import WaitPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A scheduled time, to the second."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The requests that are recorded up to this number: deliveries, and checks and runs requested by annotation."""

    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Differs:
    """A list of its source's references shows that this one differs from its entry."""


Occurrence: TypeAlias = Due | Requests | Differs


def occurrence_of(due_at: datetime | None, entry: Entry, *, listed: bool = False) -> Occurrence:
    """What a check handles: open requests first (one may handle the scheduled time too), else the scheduled time."""
    if listed:
        return Differs()
    if due_at is None or entry.is_open:
        return Requests(upto=entry.requested)
    return Due(at=due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """The part of a trigger that decides on a check of one of its sources.

    `called`: pushes are delivered to it. `patterns`: `files` is given. `source` is the key of the entry. `waits`: None:
    changes never wait. `ignore`: None: no commit is ignored.
    """

    source: str
    on_change_only: bool = True
    patterns: bool = False
    record_first: bool = False
    suspend: bool = False
    called: bool = True
    on_delete: bool = False
    waits: WaitPolicy | None = None
    ignore: Ignore | None = None

    @property
    def is_pull(self) -> bool:
        """Whether it is the entry of a pull request."""
        return is_pull(self.source)

    @classmethod
    def of(cls, trigger: Any, source: str, waits: WaitPolicy | None) -> CheckSpec:
        """That part of a trigger's model, with what makes its changes wait."""
        watch, ignore = trigger.spec.sources.watch_on, trigger.spec.ignore
        return cls(
            source=source,
            on_change_only=watch.on_change_only,
            patterns=bool(watch.files),
            record_first=trigger.spec.records_first and watch.references is None,
            suspend=trigger.spec.suspend,
            called=trigger.ref.kind == "WebhookTrigger",
            on_delete=watch.on_delete is not None,
            waits=waits,
            ignore=None if ignore is None or ignore.is_empty else ignore,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the reference showed to a request sent at that time: a commit, and the annotated tag's own id."""

    commit: str
    sent_at: datetime
    tag_object: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A complete answer to a request sent at that time lacks the reference, and shows others."""

    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a check knows at a time: at first nothing of git; then the reference's head; then its files and its text.

    `text` is the head's author and message. `closed_until`: outside the trigger's windows, when they open.
    `last_start`: when the last run started, or, if it waits for a slot, now.
    """

    now: datetime
    closed_until: datetime | None = None
    last_start: datetime | None = None
    head: Head | Absent | None = None
    files: Selection | None = None
    text: CommitText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """The decision needs more: the head of the reference, which of its files differ, or its author and message."""

    part: Literal["head", "files", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """There is nothing to do, and nothing to write."""

    result: CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """It is too early: the check handles nothing, and is repeated `after_s` later or at a time (`until`).

    `mutations` record what must survive until then.
    """

    result: CheckResult
    after_s: float | None = None
    until: datetime | None = None
    mutations: tuple[Mutation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRun:
    """There is nothing to run; `mutations` record it. `deferrable`: writing them late costs one more check at most.

    `again_s`: a request stays open, and is checked again after that time.
    """

    result: CheckResult
    mutations: tuple[Mutation, ...] = ()
    deferrable: bool = False
    again_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """A Job is to be created for that commit; it handles a scheduled time, or requests up to a number.

    `run_request` is its number if it is a requested run. `again_s`: more is to be done after it.
    """

    result: CheckResult
    commit: str
    file_hash: str | None
    text: CommitText | None = None
    due_at: datetime | None = None
    request: int | None = None
    run_request: int | None = None
    again_s: float | None = None


Decision: TypeAlias = Observe | Nothing | Wait | NoRun | StartRun
