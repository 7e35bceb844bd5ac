"""Answers of git servers that answer more than the check that requested them.

A check of the schedule has to find what was pushed before its scheduled time. So an answer that was *sent* after that
time is as good as one of its own, if it shows the commit that is recorded already: there is nothing to do then. Any
other commit is requested again, for the check itself (`kept_same` and `kept_after_due` in `tests/model/ledger.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from git_events_runner.concurrency.fairness import FairCache, Room
from git_events_runner.edges.git.request import Reference, Repository, ResolvedReference
from git_events_runner.rules.messages import Unchanged

_KEPT_S = 60.0
_LIMIT = 4096
_CLOCKS_S = 0.001  # so much two clocks differ that are read one after the other


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, and the wall clock before its request was sent: either clock alone is misled when that one is set."""

    answer: ResolvedReference
    called_at: datetime


@dataclass(slots=True)
class _Flight:
    """A request under way, and the wall clock when it was called for."""

    called_at: datetime
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class KeptResponses:
    """The last answer for each reference of a repository, for a minute."""

    def __init__(self, *, now: Callable[[], datetime], shared: Callable[[str], object], room: Room) -> None:
        """`shared` counts a check without a request, by host; `room` is how many answers of a namespace are kept."""
        self._now = now
        self._shared = shared
        self._kept: FairCache[tuple[str, Reference], _Kept] = FairCache(limit=_LIMIT, room=room)
        self._flights: dict[tuple[str, str, Reference], _Flight] = {}

    async def get(
        self,
        repository: Repository,
        reference: Reference,
        request: Callable[[], Awaitable[ResolvedReference]],
        *,
        unchanged: Unchanged | None,
    ) -> ResolvedReference:
        """The answer of `request`, or one from a moment ago that shows that nothing has changed.

        Args:
            repository: With the credential.
            reference: A branch or tag; a commit is never requested twice anyway.
            request: Sends a request after the call.
            unchanged: What another answer has to show to be used; None: only one of its own will do.

        Raises:
            GitError: What `request` raises.
        """
        if reference.type == "commit":
            return await request()
        flight_key = (repository.owner, repository.key, reference)
        if unchanged is not None:
            found = self._find(repository, reference, unchanged)
            flight = self._flights.get(flight_key)
            if found is None and flight is not None and flight.called_at >= unchanged.since:
                await flight.ended.wait()
                found = self._find(repository, reference, unchanged)
            if found is not None:
                self._shared(repository.host)
                return found
        flight = self._flights[flight_key] = _Flight(self._now())
        try:
            answer = await request()
            self._keep(repository, reference, _Kept(answer, flight.called_at))
            return answer
        finally:
            flight.ended.set()
            if self._flights.get(flight_key) is flight:
                del self._flights[flight_key]

    def forget(self, keys: Collection[str]) -> None:
        """Drop the answers of repositories that are configured no more, by `Repository.key`."""
        for key in self._kept:
            if key[0] in keys:
                self._kept.pop(key)

    def _keep(self, repository: Repository, reference: Reference, kept: _Kept) -> None:
        key = (repository.key, reference)
        known = self._kept.get(key)
        if known is None or (known.answer.sent_at, known.called_at) < (kept.answer.sent_at, kept.called_at):
            self._kept.put(repository.owner, key, kept)

    def _find(self, repository: Repository, reference: Reference, unchanged: Unchanged) -> ResolvedReference | None:
        kept = self._kept.get((repository.key, reference))
        if kept is None or kept.answer.commit != unchanged.commit or kept.called_at < unchanged.since:
            return None
        age_s = asyncio.get_running_loop().time() - kept.answer.sent_at
        since_s = (self._now() - unchanged.since).total_seconds()
        return kept.answer if age_s <= min(since_s + _CLOCKS_S, _KEPT_S) else None
