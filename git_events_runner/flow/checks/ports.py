"""Interfaces that checks need of the rest of the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from git_events_runner.resources.commits import CommitText
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.ledger.mutations import Mutation
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.messages import CheckRequest, RunOrder, RunResult, Unchanged
from git_events_runner.rules.references import Watched
from git_events_runner.rules.selection import Selection


class GitAnswer(Protocol):
    """Which commit a reference points to; `sent_at` in the loop's time."""

    @property
    def commit(self) -> str:
        """The commit's id."""

    @property
    def tag_object(self) -> str | None:
        """The annotated tag's own id."""

    @property
    def sent_at(self) -> float:
        """When the request was sent."""


class ReferenceAnswer(Protocol):
    """A complete list of references; `sent_at` in the loop's time."""

    @property
    def refs(self) -> Mapping[str, tuple[str, str | None]]:
        """By full name: the commit, and an annotated tag's own id."""

    @property
    def alive(self) -> bool:
        """Whether the repository shows any reference, so that one that is not listed does not exist."""

    @property
    def sent_at(self) -> float:
        """When the request was sent."""


class Git(Protocol):
    """Queries git servers about a source object; the request is sent after the call."""

    async def commit_of(
        self,
        source: Any,
        namespace: str,
        ref_type: str,
        ref_name: str,
        *,
        urgent: bool,
        unchanged: Unchanged | None = None,
    ) -> GitAnswer:
        """The commit of a reference; `urgent`: query also if the source failed a moment ago.

        `unchanged`: what the response to another check has to show to be used.
        """

    async def commit_text(self, source: Any, namespace: str, commit: str) -> CommitText:
        """Author and message of a commit."""

    async def learn_host_key(self, source: Any, namespace: str, ref_type: str, ref_name: str) -> None:
        """Learn the host key of a source that only a Job will contact."""

    async def references_of(
        self, source: Any, namespace: str, prefixes: Sequence[str], *, urgent: bool
    ) -> ReferenceAnswer:
        """The references with this prefix of the full name."""


class Files(Protocol):
    """Selects files, and references, by patterns."""

    async def selected(
        self, watched: Watched, refs: Mapping[str, tuple[str, str | None]], namespace: str
    ) -> dict[str, tuple[str, str | None]]:
        """Those of the references, by full name, that patterns select."""

    async def compare(
        self, source: Any, namespace: str, patterns: Sequence[str], commit: str, recorded: str
    ) -> Selection:
        """Which files of a commit are selected, and whether they are those of the recorded one."""

    async def warn(
        self,
        request: CheckRequest,
        source: Any,
        patterns: Sequence[str],
        commit: str,
        *,
        first: bool,
        found: Selection | None,
    ) -> None:
        """Warn while the patterns select nothing of a source (`first`: this is its first check)."""


class Runs(Protocol):
    """Makes runs."""

    async def make(self, order: RunOrder) -> RunResult | Problem:
        """Create the Job of an order and settle it, or return why not."""


class Handled(Protocol):
    """Keeps handled scheduled times until they are recorded."""

    def note(self, request: CheckRequest, status: Mapping[str, Any]) -> list[Mutation]:
        """A check found no change; the handled times to write now."""


class Waits(Protocol):
    """Repeats checks at a given time."""

    def put(self, request: CheckRequest, until: datetime, reason: CheckResult) -> None:
        """Repeat that check at a time."""

    def end(self, request: CheckRequest) -> None:
        """A check of that source does not wait."""
