"""What one check of one source has to do: `decide`, from its entry, what caused it, the spec, and what it observed.

A commit is compared with the recorded one; with file patterns the trees of the recorded and the new commit are compared
under the current patterns. So a change of patterns alone never fires, and never hides a change.
The table in tests/rules/test_decision.py is the specification.
"""

from __future__ import annotations

from datetime import datetime

from git_events_runner.rules.ledger.entry import Entry
from git_events_runner.rules.ledger.mutations import Mutation, Skip, rfc3339
from git_events_runner.rules.ledger.stored_times import stored_time

from .announcements import announced_unseen, announced_wait_s
from .check_result import CheckResult
from .check_values import (
    Absent,
    CheckSpec,
    Decision,
    Differs,
    Due,
    Head,
    NoRun,
    Nothing,
    Observation,
    Observe,
    Occurrence,
    Requests,
    StartRun,
    Wait,
    occurrence_of,
)
from .deletions import absent_decision, closed_decision, unshown_decision
from .ignore import ignored_of
from .ignored import Ignored
from .reference_entries import Missing
from .waits import Release, hold_of

__all__ = [
    "Absent",
    "CheckSpec",
    "Decision",
    "Differs",
    "Due",
    "Head",
    "NoRun",
    "Nothing",
    "Observation",
    "Observe",
    "Occurrence",
    "Requests",
    "StartRun",
    "Wait",
    "decide",
    "is_handled",
    "needs_files",
    "occurrence_of",
]

JUST_S = 30.0


def decide(entry: Entry, occurrence: Occurrence, observation: Observation, spec: CheckSpec) -> Decision:
    """What a check has to do next, by what it has observed so far; pure."""
    if spec.suspend and not entry.run_is_due:
        return Nothing(result=CheckResult.SUSPENDED)
    if is_handled(entry, occurrence, spec, observation.now):
        return Nothing(result=CheckResult.SKIP_ANSWERED)
    closed = closed_decision(entry, observation.now, spec) if spec.is_pull else None
    if closed is not None:
        return closed
    head = observation.head
    if head is None:
        return Observe(part="head")
    if isinstance(head, Absent):
        return (
            unshown_decision(entry, head, spec) if spec.is_pull else absent_decision(entry, head, observation.now, spec)
        )
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
