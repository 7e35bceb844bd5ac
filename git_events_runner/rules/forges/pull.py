"""A pull or merge request in one form for every forge's dialect.

What a delivery reports of it is trusted as far as its signature: whether it is a fork's, and that it is closed, which
git shows of none. What cannot be read counts as a fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from git_events_runner.resources.job import timestamp
from git_events_runner.rules.ledger.stored_times import rfc3339

from .push import IgnoredEvent, at, change

_LARGEST = 2**31 - 1
_NAME_CHARS = 255
_ID_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """One that was opened, pushed to, reopened or closed.

    Attributes:
        event: The forge's name of the event.
        repositories: Addresses of the repository that it is in.
        number: Its number there.
        commit: Its newest commit, if the payload has the complete id.
        head: The full name of the reference in git that shows its head; None: there is none.
        merge: That of the commit that merges it; None: the forge has none.
        target: Name of the branch that it is to be merged into.
        fork: Whether its branch is in another repository.
        closed: Whether it was closed or merged.
        at: When that happened (RFC 3339), by the forge's clock, if the payload has it.
    """

    event: str
    repositories: tuple[str, ...]
    number: int
    commit: str | None
    head: str | None
    merge: str | None = None
    target: str | None
    fork: bool
    closed: bool
    at: str | None


def number_of(event: str, value: object) -> int | IgnoredEvent:
    """The number of a pull request, or why there is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST:
        return value
    return IgnoredEvent(reason=f"event {event} names no pull request")


def no_change(event: str, action: object) -> IgnoredEvent:
    """Why an action of a pull request (a label, a review) has no effect."""
    word = action[:_ID_CHARS] if isinstance(action, str) and action.isprintable() else "without action"
    return IgnoredEvent(reason=f"event {event} moves no reference (action {word})")


def differ(mine: object, target: object, field: str, *more: str) -> bool:
    """Whether two repositories differ by one of their fields; they do if neither is known by any."""
    for name in (field, *more):
        first, second = (_identity(one, name) for one in (mine, target))
        if first is not None and second is not None:
            return first != second
    return True


def _identity(repository: object, field: str) -> object:
    found = at(repository, *field.split("."))
    if isinstance(found, str):
        return found.lower() if 0 < len(found) <= _NAME_CHARS else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def branch(*candidates: object) -> str | None:
    """The first that is a name of a branch, without `refs/heads/`."""
    for one in candidates:
        name = one.removeprefix("refs/heads/") if isinstance(one, str) else ""
        if 0 < len(name) <= _NAME_CHARS and name.isprintable():
            return name
    return None


def moment(value: object) -> str | None:
    """A forge's time as RFC 3339 in UTC: ISO 8601 text, also GitLab's ending with ` UTC`, or milliseconds since 1970.

    >>> moment("2026-01-02 03:04:05 UTC"), moment(1767323045000), moment("soon")
    ('2026-01-02T03:04:05Z', '2026-01-02T03:04:05Z', None)
    """
    if isinstance(value, str) and len(value) <= _ID_CHARS:
        found = timestamp(value.removesuffix(" UTC") + "+00:00" if value.endswith(" UTC") else value)
    elif isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**43:
        found = datetime.fromtimestamp(value / 1000, UTC)
    else:
        return None
    return rfc3339(found) if found is not None else None


def commit_of(value: object) -> str | None:
    """A complete commit id in lower case, or None."""
    return change("head", value).commit
