"""Removing the entries of sources and references that a trigger no longer watches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .entry import entry_of
from .mutations import Guards, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Remove entries of sources that the trigger does not name any more; `lastRunNumber` keeps their numbers."""

    keep: frozenset[str]
    now: datetime | None = None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Apply the spec of the same object that is written (the writer passes it as `keep`)."""
        entries = status.get("checkedSources")
        removed = [name for name in entries if name not in self.keep] if isinstance(entries, dict) else []
        if not removed:
            return Outcome.DONE
        highest = max(entry_of(status, name).runs for name in removed)
        status["lastRunNumber"] = max(entry_of(status, "").runs, highest)
        for name in removed:
            del status["checkedSources"][name]
        return Outcome.WRITE

    def guards(self) -> Guards:
        """The complete object, by its resource version."""
        return Guards(complete=True)
