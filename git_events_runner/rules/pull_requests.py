"""The record of a pull request in its entry: what the newest delivery about it reported (tests/model/pulls.py).

Git still shows the head of a closed pull request, and not whether it is a fork's: both come from a delivery that
was verified, and are recorded with it, in one write. A record that cannot be read is that of a fork.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.job import timestamp

from .forges.repository_urls import same_repository

FIELD = "pullRequest"
_TEXTS = ("head", "merge", "target", "at", "repository")


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """What is known of a pull request.

    Attributes:
        head: The full name of the reference in git that shows its head; None: there is none.
        merge: That of the commit that merges it, of forges that have one.
        target: Name of the branch that it is to be merged into.
        fork: Whether its branch is in another repository.
        closed: Whether it is closed or merged.
        at: When that happened (RFC 3339), by the forge's clock; None: the forge does not report it.
        repository: The source's address then: in another repository the number is that of another pull request.
    """

    head: str | None
    merge: str | None = None
    target: str | None = None
    fork: bool = True
    closed: bool = False
    at: str | None = None
    repository: str | None = None

    @classmethod
    def of(cls, data: object) -> PullRecord | None:
        """Read it; None: there is no record. What is strange reads as absent, and as that of a fork."""
        if not data or not isinstance(data, Mapping):
            return None
        texts = {name: _text(data.get(name)) for name in _TEXTS}
        return cls(**texts, fork=data.get("fork") is not False, closed=data.get("closed") is True)

    @property
    def as_json(self) -> dict[str, Any]:
        """The record as it is stored."""
        found = {name: getattr(self, name) for name in _TEXTS}
        kept: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
        return kept | {"fork": self.fork, "closed": self.closed}

    def follows(self, known: PullRecord | None) -> bool:
        """Whether this happened after what is recorded, or at the same time: deliveries come in any order.

        >>> early, late = (PullRecord(head=None, at=f"2026-01-01T00:00:0{second}Z") for second in (1, 2))
        >>> early.follows(late), late.follows(early), early.follows(None)
        (False, True, True)
        """
        before, mine = timestamp(known.at) if known is not None else None, timestamp(self.at)
        return before is None or mine is None or mine >= before

    def is_of(self, address: str) -> bool:
        """Whether it was delivered about the repository that a source's address names now."""
        return self.repository is None or same_repository(address, (self.repository,), aliases={})

    def reference(self, *, merged: bool) -> str:
        """The full name of the reference to check; empty: there is none."""
        return (self.merge if merged else self.head) or ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
