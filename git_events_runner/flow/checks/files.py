"""Files that the patterns of triggers select in commits: compared at a change, with a warning while there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import (
    ApiError,
    FenceLost,
    GitError,
    GitReferenceNotFound,
    GitTooLarge,
    InvalidObject,
    SecretUnusable,
)
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Report
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.rules.patterns import check as check_patterns
from git_events_runner.rules.problems import is_same_warning
from git_events_runner.rules.references import Watched
from git_events_runner.rules.selection import Selection, compared, is_open, selection, warned, warning

log = structlog.get_logger(target="checks")


_INLINE = 100


def _selected(watched: Watched, refs: Mapping[str, tuple[str, str | None]]) -> dict[str, tuple[str, str | None]]:
    return {name: shown for name, shown in refs.items() if watched.matches(name)}


class Trees(Protocol):
    """Reads trees of git servers."""

    async def tree(self, source: Any, namespace: str, commit: str) -> Iterable[Any]:
        """The entries (path, mode, blob) of a commit's tree."""


class Files:
    """Selects files by patterns, in the threads of a pool."""

    def __init__(
        self, *, store: Store, git: Trees, writer: StatusWriter, pool: Pool, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._git = git
        self._writer = writer
        self._now = now
        self._pool = pool

    async def selected(
        self, watched: Watched, refs: Mapping[str, tuple[str, str | None]], namespace: str
    ) -> dict[str, tuple[str, str | None]]:
        """Those of the references, by full name, that patterns select; many are matched in a thread."""
        if len(refs) <= _INLINE:
            return _selected(watched, refs)
        return await self._pool.run(_selected, watched, refs, owner=namespace)

    async def compare(
        self, source: Any, namespace: str, patterns: Sequence[str], commit: str, recorded: str
    ) -> Selection:
        """Which files of a commit are selected, and whether they are those of the recorded one.

        Raises:
            InvalidObject: A pattern is invalid, or matching takes too many steps.
            GitError: The commit's tree could not be fetched.
        """
        git = self._git
        check_patterns(patterns)

        async def selected(of: str) -> Selection:
            # Only this call refers to the tree: it is freed before the next one is fetched.
            return await self._pool.run(selection, patterns, await git.tree(source, namespace, of), owner=namespace)

        async def before() -> Selection | None:
            try:
                return await selected(recorded)
            except (GitReferenceNotFound, GitTooLarge):
                return None  # cannot be fetched any more: treated as changed

        return compared(*await asyncio.gather(selected(commit), before()))

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
        """Warn while the patterns select nothing of a source; never raises, and no run waits for it.

        `found` is the selection in the commit, if known; else a source's first check computes it.
        """
        snapshot = self._store.get(request.trigger)
        if snapshot is None or snapshot.uid != request.uid:
            return
        status = snapshot.raw.get("status")
        reported = warned(status, request.source)
        if found is None and is_open(status, request.source, patterns, first=first, generation=snapshot.generation):
            found = await self._selection(request, source, patterns, commit)
        empty = found is not None and found.empty
        if not empty and (reported is None or (found is None and patterns)):
            return  # no warning, or no new one
        mutation = warning(request.source, patterns, commit, empty=empty, generation=snapshot.generation)
        report = Report(source=request.source, problem=None, generation=snapshot.generation, now=rfc3339(self._now()))
        name = {"namespace": request.trigger.namespace, "name": request.trigger.name}
        if mutation.message and not is_same_warning(reported, mutation.message):
            log.warning("files.unmatched", **name, source=request.source, error=mutation.message)
        try:
            if request.fence:
                request.fence.check()
            await self._writer.write(request.trigger, request.uid, report, mutation)
        except FenceLost:
            return  # the next leader's check repeats it
        except ApiError as failed:
            log.warning("status.failed", **name, error=str(failed), reason=failed.reason)

    async def _selection(
        self, request: CheckRequest, source: Any, patterns: Sequence[str], commit: str
    ) -> Selection | None:
        """The selection in a commit; None: unknown."""
        namespace = request.trigger.namespace or ""
        try:
            check_patterns(patterns)
            tree = await self._git.tree(source, namespace, commit)
            return await self._pool.run(selection, patterns, tree, owner=namespace)
        except (GitError, SecretUnusable, InvalidObject) as error:
            log.debug("check.failed", namespace=namespace, name=request.trigger.name, error=str(error))
            return None
