"""What an entry records of a commit that `spec.ignore` selected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.commits import CommitText


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """The commit, why it is ignored, and its author and subject."""

    commit: str
    reason: str
    author: str
    subject: str

    @classmethod
    def of(cls, commit: str, reason: str, text: CommitText) -> Ignored:
        """The record of a commit, with texts for people."""
        return cls(commit=commit, reason=reason, author=text.author, subject=text.subject)

    @property
    def record(self) -> dict[str, str]:
        """As it is stored."""
        return {"commit": self.commit, "reason": self.reason, "author": self.author, "subject": self.subject}


def ignored_line(status: object, source: str) -> str | None:
    """Why the recorded commit of a source did not run, in one line; None: it was not ignored.

    >>> ignored = {"commit": "ab", "reason": "r", "author": "a", "subject": "s"}
    >>> ignored_line({"checkedSources": {"app": {"commitHash": "ab", "ignored": ignored}}}, "app")
    'r: "s" by a'
    """
    entries = status.get("checkedSources") if isinstance(status, Mapping) else None
    entry: Any = entries.get(source) if isinstance(entries, Mapping) else None
    found = entry.get("ignored") if isinstance(entry, Mapping) else None
    if not isinstance(found, Mapping) or not found.get("commit") or found["commit"] != entry.get("commitHash"):
        return None
    return f'{found.get("reason") or "ignore"}: "{found.get("subject") or ""}" by {found.get("author") or "unknown"}'
