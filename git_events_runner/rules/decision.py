"""What one check of one source has to do: `decide`, from its entry, what caused it, the spec, and what it observed.

A commit is compared with the recorded one; with file patterns the trees of the recorded and the new commit are compared
under the current patterns. So a change of patterns alone never fires, and never hides a change.
The table in tests/rules/test_decision.py is the specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from git_events_runner.resources.commits import CommitText
from git_events_runner.resources.ignore import Ignore
from git_events_runner.rules.ledger.entry import Entry
from git_events_runner.rules.ledger.mutations import Mutation, Skip, rfc3339
from git_events_runner.rules.ledger.stored_times import stored_time

from .announcements import announced_unseen, announced_wait_s
from .check_result import CheckResult
from .ignore import ignored_of
from .ignored import Ignored
from .reference_entries import CONFIRM, Forget, Missing
from .selection import Selection
from .waits import Release, WaitPolicy, hold_of

JUST_S = 30.0


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


def decide(entry: Entry, occurrence: Occurrence, observation: Observation, spec: CheckSpec) -> Decision:
    """What a check has to do next, by what it has observed so far; pure."""
    if spec.suspend and not entry.run_is_due:
        return Nothing(result=CheckResult.SUSPENDED)
    if is_handled(entry, occurrence, spec, observation.now):
        return Nothing(result=CheckResult.SKIP_ANSWERED)
    head = observation.head
    if head is None:
        return Observe(part="head")
    if isinstance(head, Absent):
        return _absent(entry, head, observation.now, spec)
    if needs_files(entry, head, spec) and observation.files is None:
        return Observe(part="files")
    return _of_head(entry, occurrence, observation, spec, head)


def _of_head(entry: Entry, occurrence: Occurrence, observation: Observation, spec: CheckSpec, head: Head) -> Decision:
    """The result for the head, when its files are known."""
    unseen = announced_unseen(entry, head.commit, head.tag_object, head.sent_at)
    wait_s = announced_wait_s(entry, head.sent_at) if unseen else None
    result = _result(entry, occurrence, observation, spec, unseen=unseen)
    if result is CheckResult.WAIT_ANNOUNCED:
        return Wait(result=result, after_s=wait_s or 0.0)
    upto = entry.requested - int(unseen)
    if result.fires:
        hold = _hold(entry, observation, spec, result, wait_s)
        if hold is not None:
            return hold
        if spec.ignore is not None and result is not CheckResult.FIRE_REQUESTED:
            if observation.text is None:
                return Observe(part="text")
            ignored, ignores = ignored_of(spec.ignore, head.commit, observation.text), CheckResult.SKIP_IGNORED
            if ignored is not None:
                return _no_run(entry, occurrence, observation, spec, ignores, upto, wait_s, ignored=ignored)
        return _start_run(entry, occurrence, observation, spec, result, upto, wait_s)
    return _no_run(entry, occurrence, observation, spec, result, upto, wait_s)


def is_handled(entry: Entry, occurrence: Occurrence, spec: CheckSpec, now: datetime) -> bool:
    """Whether an earlier check handled this: a scheduled time not newer than the entry's, or no open request.

    Where only changes run, a scheduled time within half a minute after a handled delivery is handled too: the request
    to git was sent after the delivery. Where every check runs, a delivery handles itself alone. A request does not
    handle the scheduled time of a trigger to which no push is delivered: a push after a request by annotation would
    wait for the next scheduled time.
    """
    if isinstance(occurrence, Differs):
        return False
    if isinstance(occurrence, Requests):
        return not entry.is_open
    known = stored_time(entry.answered_at, now)
    if known is not None and occurrence.at <= known:
        return True
    if entry.announced is None or not (spec.on_change_only and spec.called) or entry.handled < entry.requested:
        return False
    delivered = stored_time(entry.announced.at, now)
    return delivered is not None and (occurrence.at - delivered).total_seconds() < JUST_S


def needs_files(entry: Entry, head: Head, spec: CheckSpec) -> bool:
    """Whether the decision depends on which files differ: patterns are given, and the commit moved."""
    if not spec.patterns or not spec.on_change_only or entry.commit is None:
        return False
    return entry.commit not in {head.commit, head.tag_object if entry.adopted else head.commit}


def _absent(entry: Entry, absent: Absent, now: datetime, spec: CheckSpec) -> Decision:
    """A reference that git does not show is deleted when a request sent 15 s later does not show it either."""
    if entry.commit is None and not entry.is_open:
        if entry.waiting is not None:  # it was deleted before its first run
            return NoRun(result=CheckResult.SKIP_DELETED, mutations=(Release(source=spec.source),))
        return Nothing(result=CheckResult.SKIP_DELETED)
    since = stored_time(entry.missing_since, now)
    if since is None:
        missing = Missing(source=spec.source, expected=entry.key, at=rfc3339(absent.sent_at))
        again_s = CONFIRM.total_seconds() + 1
        return NoRun(result=CheckResult.WAIT_DELETED, mutations=(missing,), again_s=again_s)
    if absent.sent_at - since < CONFIRM:
        return Wait(result=CheckResult.WAIT_DELETED, after_s=(CONFIRM - (absent.sent_at - since)).total_seconds())
    if spec.on_delete and entry.commit is not None:
        return StartRun(
            result=CheckResult.FIRE_DELETED,
            commit=entry.commit,
            file_hash=None,
            request=entry.requested,
            run_request=entry.run_requested if entry.run_is_due else None,
        )
    forget = Forget(source=spec.source, expected=entry.key, at=rfc3339(now))
    return NoRun(result=CheckResult.SKIP_DELETED, mutations=(forget,))


def _result(
    entry: Entry, occurrence: Occurrence, observation: Observation, spec: CheckSpec, *, unseen: bool
) -> CheckResult:
    """The result for the head; whether the files are the same is unknown without the recorded commit.

    A run that was requested by annotation never waits.
    """
    head = observation.head
    assert isinstance(head, Head)  # noqa: S101  the caller has observed it
    scheduled = isinstance(occurrence, Due)
    if not scheduled and entry.run_is_due:
        return CheckResult.FIRE_REQUESTED
    if entry.commit is None and spec.record_first and (scheduled or not spec.called):
        return CheckResult.SKIP_FIRST
    last = not spec.on_change_only and entry.handled + 1 >= entry.requested  # its own run would handle the announcement
    if not scheduled and (head.commit == entry.commit or last) and unseen:
        return CheckResult.WAIT_ANNOUNCED
    if not spec.on_change_only:
        return CheckResult.FIRE_ALWAYS
    if entry.commit is None:
        return CheckResult.FIRE_FIRST
    if head.commit == entry.commit:
        return CheckResult.SKIP_ADOPTED if entry.adopted else CheckResult.SKIP_SAME
    if entry.adopted and head.tag_object == entry.commit:
        return CheckResult.SKIP_ADOPTED
    same = observation.files is not None and observation.files.same
    return CheckResult.SKIP_FILES_SAME if same else CheckResult.FIRE_CHANGED


def _hold(
    entry: Entry, observation: Observation, spec: CheckSpec, result: CheckResult, wait_s: float | None
) -> Wait | None:
    """Whether the run has to wait; one that was requested by annotation never does."""
    head = observation.head
    if spec.waits is None or not isinstance(head, Head) or result is CheckResult.FIRE_REQUESTED:
        return None
    hold = hold_of(
        entry,
        spec.waits,
        commit=head.commit,
        source=spec.source,
        now=observation.now,
        closed_until=observation.closed_until,
        last_start=observation.last_start,
        unseen_s=wait_s,
    )
    return None if hold is None else Wait(result=hold[0], until=hold[1], mutations=(hold[2],))


def _no_run(
    entry: Entry,
    occurrence: Occurrence,
    observation: Observation,
    spec: CheckSpec,
    result: CheckResult,
    upto: int,
    wait_s: float | None,
    *,
    ignored: Ignored | None = None,
) -> NoRun:
    """Record handled requests, and a commit that needs no run."""
    head = observation.head
    moved = result is not CheckResult.SKIP_SAME and isinstance(head, Head)
    if ignored is not None and ignored.commit == entry.commit:
        moved = False  # onChangeOnly: false, and the commit is recorded already
    ended: list[Mutation] = []
    if entry.missing_since is not None:
        ended.append(Missing(source=spec.source, expected=entry.key, at=None))
    if entry.waiting is not None:
        ended.append(Release(source=spec.source))
    if not moved and upto <= entry.handled:
        return NoRun(result=result, mutations=tuple(ended), again_s=wait_s)
    now = rfc3339(observation.now)
    commit = head.commit if moved and isinstance(head, Head) else entry.commit
    digest = observation.files.digest if observation.files is not None else None
    skip = Skip(
        source=spec.source,
        expected=entry.key,
        handled=upto,
        commit=commit,
        file_hash=digest if moved else entry.file_hash,
        changed=now if commit != entry.commit else entry.changed,
        answered_at=rfc3339(occurrence.at) if isinstance(occurrence, Due) else None,
        now=now,
        ignored=ignored,
    )
    return NoRun(result=result, mutations=(*ended, skip), deferrable=not (moved or ended), again_s=wait_s)


def _start_run(
    entry: Entry,
    occurrence: Occurrence,
    observation: Observation,
    spec: CheckSpec,
    result: CheckResult,
    upto: int,
    wait_s: float | None,
) -> StartRun:
    """One run handles all open requests; with `onChangeOnly: false` the next one, and the others follow."""
    head = observation.head
    assert isinstance(head, Head)  # noqa: S101  the caller has observed it
    by_annotation = result is CheckResult.FIRE_REQUESTED
    request: int | None = upto
    if isinstance(occurrence, Due):
        request = None
    elif not spec.on_change_only:
        request = entry.handled + int(not by_annotation)
    more = request is not None and not spec.on_change_only and request != entry.requested
    return StartRun(
        result=result,
        commit=head.commit,
        file_hash=observation.files.digest if observation.files is not None else None,
        text=observation.text,
        due_at=occurrence.at if isinstance(occurrence, Due) else None,
        request=request,
        run_request=entry.run_requested if by_annotation else None,
        again_s=0.0 if more else wait_s,
    )
