"""What one look at one source means: a verdict with its reason.

A commit is compared with the recorded one; with file patterns the trees of the recorded and the new commit are compared
under the patterns of now. So a change of patterns alone never fires, and never hides a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from git_events_runner.resources.job import timestamp

from .ledger import Entry
from .storedtime import stored_time

ANNOUNCED_WAIT_S = 30.0
JUST_S = 30.0
_SHORTEST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0


class Verdict(StrEnum):
    """Every way that a look can end."""

    FIRE_FIRST = "fire-first"
    FIRE_CHANGED = "fire-changed"
    FIRE_ALWAYS = "fire-always"
    FIRE_REQUESTED = "fire-requested"
    SKIP_SAME = "skip-same"
    SKIP_FILES_SAME = "skip-files-same"
    SKIP_ADOPTED = "skip-adopted"
    SKIP_FIRST = "skip-first"
    SKIP_ANSWERED = "skip-answered"
    WAIT_ANNOUNCED = "wait-announced"

    @property
    def fires(self) -> bool:
        """Whether a Job is to be made."""
        return self.value.startswith("fire")


_WORDS: dict[str, str] = {
    Verdict.FIRE_FIRST: "first check",
    Verdict.FIRE_CHANGED: "new commit",
    Verdict.FIRE_ALWAYS: "onChangeOnly: false",
    Verdict.FIRE_REQUESTED: "requested by annotation",
}


def words_of(reason: str | None) -> str | None:
    """Why a run was started, for people, from the value of its verdict; None for everything else.

    >>> words_of("fire-first")
    'first check'
    """
    return _WORDS.get(reason or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What caused a check: a due time of the schedule (RFC 3339), or (None) the requests counted in the entry."""

    due_at: str | None


def answered(entry: Entry, look: Look, *, on_change_only: bool, now: datetime, called: bool = True) -> bool:
    """Whether this occurrence was answered before: a due time not newer than the entry's, or no open request.

    Where only changes run, a due time within half a minute after a delivery that was answered is too: git was asked
    after the delivery. Where every check runs, a delivery answers itself alone. Nor does the due time of a trigger that
    is not `called` (no push is delivered to it): what was pushed after a request by annotation would wait for the next.
    """
    if look.due_at is None:
        return not entry.is_open
    due, known = timestamp(look.due_at), stored_time(entry.answered_at, now)
    if due is None:
        return False
    if known is not None and due <= known:
        return True
    delivered = stored_time(entry.announced.at, now) if entry.announced and on_change_only and called else None
    just = delivered is not None and (due - delivered).total_seconds() < JUST_S
    return just and entry.handled >= entry.requested


def needs_trees(entry: Entry, commit: str, tag_object: str | None, *, on_change_only: bool, patterns: bool) -> bool:
    """Whether the verdict depends on which files differ: the commit moved and patterns are given."""
    if not patterns or not on_change_only or entry.commit is None:
        return False
    return entry.commit not in {commit, tag_object if entry.adopted else commit}


def decide(
    entry: Entry,
    commit: str,
    *,
    tag_object: str | None,
    on_change_only: bool,
    look: Look,
    files_same: bool | None,
    asked_at: datetime,
    record_first: bool = False,
) -> Verdict:
    """The verdict on a commit; `files_same` is None when no patterns are given or the old commit cannot be had.

    `asked_at` is when the question was sent: an announcement is waited for until git was asked 30 s after it. A run
    that was requested by annotation waits for nothing. `record_first`: `firstCheck: Record`, and no push was delivered.
    """
    if look.due_at is None and entry.run_is_due:
        return Verdict.FIRE_REQUESTED
    if entry.commit is None and record_first:
        return Verdict.SKIP_FIRST
    last = not on_change_only and entry.handled + 1 >= entry.requested  # its own run would answer the announcement
    unseen = announced_unseen(entry, commit, tag_object, asked_at)
    if look.due_at is None and (commit == entry.commit or last) and unseen:
        return Verdict.WAIT_ANNOUNCED
    if not on_change_only:
        over = answered(entry, look, on_change_only=False, now=asked_at)
        return Verdict.SKIP_ANSWERED if over else Verdict.FIRE_ALWAYS
    if entry.commit is None:
        return Verdict.FIRE_FIRST
    if commit == entry.commit:
        return Verdict.SKIP_ADOPTED if entry.adopted else Verdict.SKIP_SAME
    if entry.adopted and tag_object == entry.commit:
        return Verdict.SKIP_ADOPTED
    return Verdict.SKIP_FILES_SAME if files_same else Verdict.FIRE_CHANGED


def announced_unseen(entry: Entry, head: str, tag_object: str | None, asked_at: datetime) -> bool:
    """Whether an open request announced a commit that git did not show yet when it was asked (30 s at most).

    Its request then stays open, also when another new commit is shown and runs (the model's `fired_waits`). Some forges
    announce the tag object of an annotated tag.
    """
    announced = entry.announced
    if announced is None or announced.commit in {None, head, tag_object} or entry.handled >= entry.requested:
        return False
    return _age_s(announced.at, asked_at) < ANNOUNCED_WAIT_S


def announced_wait_s(entry: Entry, asked_at: datetime) -> float:
    """How long until git is asked again for what was announced: growing, at last when 30 s are over."""
    age_s = _age_s(entry.announced.at if entry.announced else None, asked_at)
    return min(max(age_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S, max(ANNOUNCED_WAIT_S - age_s, _SHORTEST_WAIT_S))


def _age_s(at: str | None, now: datetime) -> float:
    moment = timestamp(at)
    age_s = (now - moment).total_seconds() if moment else ANNOUNCED_WAIT_S
    return age_s if age_s > -ANNOUNCED_WAIT_S else ANNOUNCED_WAIT_S  # a replica's clock is wrong: wait for nothing
