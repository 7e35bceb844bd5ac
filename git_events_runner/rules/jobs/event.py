"""Why a run was started, in the one word that its worker gets."""

from __future__ import annotations

from collections.abc import Mapping

from git_events_runner.rules.check_result import CheckResult

from .retry import RETRY

_EVENTS: Mapping[str, str] = {
    CheckResult.FIRE_CHANGED: "changed",
    CheckResult.FIRE_FIRST: "first",
    CheckResult.FIRE_ALWAYS: "always",
    CheckResult.FIRE_REQUESTED: "manual",
    RETRY: "retry",
    CheckResult.FIRE_DELETED: "deleted",
}


def event_of(reason: str) -> str:
    """The event for a run's reason.

    >>> event_of("fire-changed"), event_of("fire-requested")
    ('changed', 'manual')
    """
    return _EVENTS[reason]
