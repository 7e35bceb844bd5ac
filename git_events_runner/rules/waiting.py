"""The record of a change that waits, in the entry of a source (`rules/waits` decides on it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A change that waits: its commit, and when the reference moved first and last (RFC 3339)."""

    commit: str | None
    since: str | None
    moved: str | None

    @classmethod
    def of(cls, data: object) -> Waiting | None:
        """Read it; None: nothing waits. Strange values read as absent."""
        if not data or not isinstance(data, Mapping):
            return None
        texts = {name: data.get(name) for name in ("commit", "since", "moved")}
        return cls(**{name: text if isinstance(text, str) and text else None for name, text in texts.items()})
