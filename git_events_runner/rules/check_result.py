"""The results of a check: the one list that logs, metrics, traces and `local` use.

The values are labels of the metric `check_verdicts` and the field `verdict` of the log, and those that begin with
`fire-` are the reason of a Job.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class CheckResult(StrEnum):
    """Every result of a check, with its meaning."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """A string with its one-line meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    FIRE_FIRST = "fire-first", "A Job was created: the first check of the source."
    FIRE_CHANGED = "fire-changed", "A Job was created: a new commit, with other selected files if `files` is given."
    FIRE_ALWAYS = "fire-always", "A Job was created: `onChangeOnly` is false."
    FIRE_REQUESTED = "fire-requested", "A Job was created: the annotation `run-requested-at` requests it."
    FIRE_DELETED = "fire-deleted", "A Job was created: a watched reference was deleted (`onDelete`)."
    SKIP_SAME = "skip-same", "The reference shows the recorded commit."
    SKIP_FILES_SAME = "skip-files-same", "A new commit with the same selected files; it is recorded without a run."
    SKIP_ADOPTED = "skip-adopted", "v0.4 recorded this commit; its entry is taken over without a run."
    SKIP_IGNORED = "skip-ignored", "A new commit that `ignore` selects; it is recorded without a run, with the reason."
    SKIP_FIRST = "skip-first", "`firstCheck: Record`: the first check records the commit without a run."
    SKIP_DELETED = "skip-deleted", "The reference is deleted, and nothing runs for that."
    SKIP_ABSENT = "skip-absent", "Git does not show an open pull request: it cannot be merged, or is not there yet."
    SKIP_ANSWERED = "skip-answered", "An earlier check handled the scheduled time, or all requests."
    SUSPENDED = "suspended", "The trigger is suspended; requests stay open."
    WAIT_ANNOUNCED = (
        "wait-announced",
        "The git server does not show the commit that a delivery announced; it is checked again, for at most 30 s.",
    )
    WAIT_DELETED = "wait-deleted", "Git does not show a watched reference; it is deleted if a check 15 s later agrees."
    WAIT_WINDOW = "wait-window", "A change waits until a window opens (`windows`); the newest one runs then."
    WAIT_DEBOUNCE = "wait-debounce", "A change waits until the reference has not moved for a while (`debounce`)."
    WAIT_COOLDOWN = "wait-cooldown", "A change waits because the last run started a moment ago (`cooldown`)."
    WRONG_CONFIG = (
        "wrong-config",
        "An object that the trigger names is missing, wrong or not allowed; the conditions name it.",
    )
    INVALID = "invalid", "The trigger's spec is invalid; the conditions name the field."
    REFUSED = "refused", "No Job: the API server or a limit refused it; the conditions have the cause. Tried again."
    GIT_FAILED = "git-failed", "No response of the git server that can be used, or no credential for it; tried again."
    API_FAILED = "api-failed", "The API server did not respond as required; tried again."
    CRASHED = "crashed", "A bug in the check; the log has its traceback. Tried again."
    FENCE_LOST = "fence-lost", "The replica is no longer the leader; the next leader does the check."
    RESTART = "restart", "Other writers changed the record during every attempt; tried again."
    DROPPED = "dropped", "Nothing to check: the trigger or the source is deleted, or its namespace terminates."

    @property
    def fires(self) -> bool:
        """Whether a Job is created."""
        return self.value.startswith("fire-")

    @property
    def is_error(self) -> bool:
        """Whether the check could not be done, for a cause outside the trigger's own objects."""
        return self in {self.REFUSED, self.GIT_FAILED, self.API_FAILED, self.CRASHED}


_REASONS: dict[str, str] = {
    CheckResult.FIRE_FIRST: "first check",
    CheckResult.FIRE_CHANGED: "new commit",
    CheckResult.FIRE_ALWAYS: "onChangeOnly: false",
    CheckResult.FIRE_REQUESTED: "requested by annotation",
    "retry": "retry of a failed run",
    CheckResult.FIRE_DELETED: "deleted or closed",
}


def words_of(reason: str | None) -> str | None:
    """Why a run was started, for people, from the value of its result; None for everything else.

    >>> words_of("fire-first")
    'first check'
    """
    return _REASONS.get(reason or "")
