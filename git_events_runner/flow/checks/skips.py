"""A check without a run: what has to be written of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from git_events_runner.edges.kube.store import Snapshot
from git_events_runner.rules.change import Verdict
from git_events_runner.rules.ledger import Entry, Mutation, Outcome, Skip, rfc3339
from git_events_runner.rules.messages import Again, CheckRequest
from git_events_runner.rules.report import Report

from .ports import Handled, Writer


class Skips:
    """Writes what a check without a run leaves to be written, soon or later."""

    def __init__(
        self,
        *,
        writer: Writer,
        handled: Handled,
        submit: Callable[[CheckRequest], None],
        now: Callable[[], datetime],
    ) -> None:
        self._writer = writer
        self._handled = handled
        self._submit = submit
        self._now = now

    async def write(
        self,
        request: CheckRequest,
        snapshot: Snapshot,
        entry: Entry,
        verdict: Verdict,
        commit: str,
        file_hash: str | None,
        upto: int,
    ) -> tuple[str, Again | None]:
        """Write only what has to be: requests handled, a new commit with the same files, a problem that is gone."""
        now = rfc3339(self._now())
        mutations: list[Mutation] = []
        moved = verdict in {Verdict.SKIP_FILES_SAME, Verdict.SKIP_ADOPTED, Verdict.SKIP_FIRST}
        if moved or upto > entry.handled:
            mutations.append(
                Skip(
                    source=request.source,
                    expected=entry.key,
                    handled=upto,
                    commit=commit if moved else entry.commit,
                    file_hash=file_hash if moved else entry.file_hash,
                    changed=now if moved and commit != entry.commit else entry.changed,
                    answered_at=request.due_at,
                    now=now,
                )
            )
        status = snapshot.raw.get("status") or {}
        cleared = Report(source=request.source, problem=None, generation=snapshot.generation, now=now)
        if not _clear(status, snapshot.generation, request.source):
            mutations.append(cleared)
        mutations += self._handled.note(request, status)
        if mutations and request.fence:
            request.fence.check()
        if len(mutations) == 1 and not moved and isinstance(mutations[0], Skip):
            # Nothing but requests that are answered: that may be written late (a crash costs one more look).
            again = partial(self._submit, request)
            self._writer.defer(request.trigger, request.uid, mutations[0], unwritten=again)
        elif mutations:
            outcomes = await self._writer.write(request.trigger, request.uid, *mutations)
            if Outcome.STALE in outcomes:
                return "restart", None
        return verdict, None


def _clear(status: Any, generation: int, source: str) -> bool:
    """Whether the conditions say already that all is well with this source, for this generation."""
    if status.get("observedGeneration") != generation:
        return False
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            message = str(condition.get("message") or "")
            return condition.get("status") == "True" or f"source {source}: " not in message
    return False
