"""A push in one form for every forge's dialect, and its meaning for a watched reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
_REFERENCE_CHARS = 1024
_HALF = re.compile("[\ud800-\udfff]")


class MalformedPayload(Exception):
    """A body that is not what its forge sends; the message has the difference."""

    def __init__(self, message: str, *, media_type: bool = False) -> None:
        self.media_type = media_type
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One reference (its full name) that moved to `commit` (None: an unknown one), or was deleted."""

    reference: str
    commit: str | None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Every reference that a push changed; not `complete`: there are more than the forge lists.

    `companion`: the event, if it is one that comes next to a push: it adds nothing about a single reference.
    """

    repositories: tuple[str, ...]
    changes: tuple[Change, ...]
    complete: bool = True
    companion: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredEvent:
    """An event without an effect, and why it has none."""

    reason: str


PING = IgnoredEvent(reason="a ping")


def change(reference: object, commit: object, *, deleted: bool = False) -> Change:
    """A change from the values of a payload; a commit of zeros means that the reference is deleted.

    Raises:
        MalformedPayload: It is not a reference.
    """
    if not isinstance(reference, str) or not 0 < len(reference) <= _REFERENCE_CHARS or _HALF.search(reference):
        raise MalformedPayload("a changed reference has no name")
    text = commit.lower() if isinstance(commit, str) else ""
    removed = deleted or (bool(text) and not text.strip("0"))
    return Change(reference=reference, commit=text if not removed and _COMMIT.match(text) else None, deleted=removed)


def selected(push: Push, selects: Callable[[str], bool]) -> tuple[Change, ...] | IgnoredEvent:
    """The last change of each reference that is selected, or why the push concerns none."""
    mine = {one.reference: one for one in push.changes if selects(one.reference)}
    if mine or not push.complete:
        return tuple(mine.values())
    named = ", ".join(one.reference for one in push.changes[:3])
    return IgnoredEvent(reason=f"no changed reference is selected by watchOn.references ({named or 'none is named'})")


def watched(push: Push, reference_type: str, name: str) -> Change | IgnoredEvent:
    """The last change of the watched reference, or why the push does not concern it.

    Any push may contain a watched commit: it counts as a change that announces nothing.
    """
    if push.companion is not None:
        return IgnoredEvent(reason=f"event {push.companion} moves no reference")
    if reference_type == "commit":
        return Change(reference=name, commit=None)
    place = "refs/tags/" if reference_type == "tag" else "refs/heads/"
    full = name if name.startswith("refs/") else place + name
    mine = [one for one in push.changes if one.reference == full]
    if mine and mine[-1].deleted:
        return IgnoredEvent(reason=f"{full} was deleted")
    if mine:
        return mine[-1]
    if not push.complete:
        return Change(reference=full, commit=None)
    return IgnoredEvent(reason=f"{full} is not among the changed references")


def text_at(payload: object, *path: str) -> str | None:
    """The text at a path of a JSON object, or None; half a character (a lone surrogate) makes it none."""
    found = at(payload, *path)
    return found if isinstance(found, str) and found and not _HALF.search(found) else None


def at(payload: object, *path: str) -> object:
    """The value at a path of a JSON object, or None."""
    for name in path:
        if not isinstance(payload, dict):
            return None
        payload = payload.get(name)
    return payload


def texts(*found: str | None) -> tuple[str, ...]:
    """Those that are present, each once."""
    return tuple(dict.fromkeys(text for text in found if text))
