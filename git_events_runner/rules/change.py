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

ANNOUNCED_WAIT_S = 30.0


class Verdict(StrEnum):
    """Every way that a look can end."""

    FIRE_FIRST = "fire-first"
    FIRE_CHANGED = "fire-changed"
    FIRE_ALWAYS = "fire-always"
    SKIP_SAME = "skip-same"
    SKIP_FILES_SAME = "skip-files-same"
    SKIP_ADOPTED = "skip-adopted"
    SKIP_ANSWERED = "skip-answered"
    WAIT_ANNOUNCED = "wait-announced"

    @property
    def fires(self) -> bool:
        """Whether a Job is to be made."""
        return self.value.startswith("fire")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What caused a check: a due time of the schedule (RFC 3339), or (None) the requests counted in the entry."""

    due_at: str | None


def answered(entry: Entry, look: Look) -> bool:
    """Whether this occurrence was answered before: a due time not newer than the entry's, or no open request."""
    if look.due_at is None:
        return entry.handled >= entry.requested
    due, known = timestamp(look.due_at), timestamp(entry.answered_at)
    return due is not None and known is not None and due <= known


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
    now: datetime,
) -> Verdict:
    """The verdict on a commit; `files_same` is None when no patterns are given or the old commit cannot be had."""
    if not on_change_only:
        return Verdict.SKIP_ANSWERED if answered(entry, look) else Verdict.FIRE_ALWAYS
    if entry.commit is None:
        return Verdict.FIRE_FIRST
    if commit == entry.commit:
        if look.due_at is None and _announced_unseen(entry, commit, now):
            return Verdict.WAIT_ANNOUNCED
        return Verdict.SKIP_ADOPTED if entry.adopted else Verdict.SKIP_SAME
    if entry.adopted and tag_object == entry.commit:
        return Verdict.SKIP_ADOPTED
    return Verdict.SKIP_FILES_SAME if files_same else Verdict.FIRE_CHANGED


def _announced_unseen(entry: Entry, head: str, now: datetime) -> bool:
    """Whether a forge announced a commit that its git side does not show yet (30 s at most)."""
    announced = entry.announced
    if announced is None or announced.commit == head:
        return False
    at, changed = timestamp(announced.at), timestamp(entry.changed)
    if at is None or (changed is not None and changed > at):
        return False
    return (now - at).total_seconds() < ANNOUNCED_WAIT_S
