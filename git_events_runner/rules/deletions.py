"""When a watched reference is deleted, or a pull request closed: what a check does then.

Of branches and tags only git shows that. Of pull requests it still shows the head: a delivery reported the closing,
and the entry records it (tests/model/pulls.py).
"""

from __future__ import annotations

from datetime import datetime

from git_events_runner.rules.ledger.entry import Entry
from git_events_runner.rules.ledger.mutations import Skip, rfc3339
from git_events_runner.rules.ledger.stored_times import stored_time

from .announcements import announced_unseen, announced_wait_s
from .check_result import CheckResult
from .check_values import Absent, CheckSpec, Decision, NoRun, Nothing, StartRun, Wait
from .reference_entries import CONFIRM, Forget, Missing
from .waits import Release


def absent_decision(entry: Entry, absent: Absent, now: datetime, spec: CheckSpec) -> Decision:
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
        return _on_delete(entry, entry.commit)
    return _forget(entry, now, spec)


def closed_decision(entry: Entry, now: datetime, spec: CheckSpec) -> Decision | None:
    """What to do about a pull request before git is queried; None: it is open, and its head is to be checked.

    Without a record (its entry was pruned) there is nothing to do: git shows closed ones, too (`record_needed`).
    """
    if entry.pull is not None and not entry.pull.closed:
        return None
    if spec.on_delete and entry.commit is not None and entry.pull is not None:
        return _on_delete(entry, entry.commit)
    if entry.commit is None and not entry.is_open and entry.waiting is None:
        return Nothing(result=CheckResult.SKIP_DELETED)
    return _forget(entry, now, spec)


def unshown_decision(entry: Entry, absent: Absent, spec: CheckSpec) -> Decision:
    """What to do about an open pull request that git does not show: the forge may be late, or it has conflicts."""
    if announced_unseen(entry, "", None, absent.sent_at):
        return Wait(result=CheckResult.WAIT_ANNOUNCED, after_s=announced_wait_s(entry, absent.sent_at))
    if entry.requested <= entry.handled:
        return Nothing(result=CheckResult.SKIP_ABSENT)
    skip = Skip(
        source=spec.source,
        expected=entry.key,
        handled=entry.requested,
        commit=entry.commit,
        file_hash=entry.file_hash,
        changed=entry.changed,
    )
    return NoRun(result=CheckResult.SKIP_ABSENT, mutations=(skip,))


def _on_delete(entry: Entry, commit: str) -> StartRun:
    """Run `onDelete`, once, with the last known commit."""
    return StartRun(
        result=CheckResult.FIRE_DELETED,
        commit=commit,
        file_hash=None,
        request=entry.requested,
        run_request=entry.run_requested if entry.run_is_due else None,
    )


def _forget(entry: Entry, now: datetime, spec: CheckSpec) -> NoRun:
    forget = Forget(source=spec.source, expected=entry.key, at=rfc3339(now))
    return NoRun(result=CheckResult.SKIP_DELETED, mutations=(forget,))
