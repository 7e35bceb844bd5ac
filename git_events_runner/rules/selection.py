"""Which files of a commit a trigger's patterns select: whether they changed, and whether there are any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from git_events_runner.rules.ledger.report import Warn

from .patterns import GITLINK, NOTHING, Patterns, selected_hash
from .problems import RecordedWarning, warning_of

REASON = "FilesSelectNothing"
_SHOWN_CHARS = 200
_SHORT_ID = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What patterns select of a commit: a digest, whether it is empty, and whether the recorded commit had the same.

    `same` is None if the recorded commit's files are not known.
    """

    digest: str
    empty: bool
    same: bool | None


def selection(patterns: Sequence[str], entries: Iterable[Any]) -> Selection:
    """Select from the entries (path, mode, blob) of a tree, which is not held in memory.

    Raises:
        InvalidObject: A pattern cannot be read, or matching takes too many steps.
    """
    compiled = Patterns(patterns)

    def selected() -> Iterator[tuple[str, int, str]]:
        return (entry for entry in entries if compiled.selects(entry[0], gitlink=entry[1] == GITLINK))

    digest = selected_hash(selected)
    return Selection(digest=digest, empty=digest == NOTHING, same=None)


def compared(new: Selection, old: Selection | None) -> Selection:
    """The selection of a new commit, compared with that of the recorded one."""
    return replace(new, same=None if old is None else old.digest == new.digest)


def warned(status: Mapping[str, Any] | None, source: str) -> RecordedWarning | None:
    """The warning about a source; None: there is none."""
    return warning_of(status, REASON, source)


def is_open(
    status: Mapping[str, Any] | None, source: str, patterns: Sequence[str], *, first: bool, generation: int
) -> bool:
    """Whether a check has to find out if patterns select anything.

    That is at a source's first check, and after a warning that was about another version of the spec.
    """
    known = warned(status, source)
    return bool(patterns) and (first if known is None else known.generation != generation)


def warning(source: str, patterns: Sequence[str], commit: str, *, empty: bool, generation: int) -> Warn:
    """The warning about a source, or (not `empty`) its end."""
    message = (
        f"files ({_shown(patterns)}) selects nothing in commit {commit[:_SHORT_ID]}: until it does, no new commit "
        "counts as a change; git-events-runner files shows what patterns select"
    )
    return Warn(reason=REASON, source=source, message=message if empty else None, generation=generation)


def _shown(patterns: Sequence[str]) -> str:
    return " ".join(", ".join(patterns).split())[:_SHOWN_CHARS]
