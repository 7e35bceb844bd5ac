"""Writes about objects that one leadership makes: each object's apart, again until it has succeeded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.messages import Fence

Write = Callable[[Ref, str, Fence], Awaitable[bool]]


class FencedWrites:
    """Hands the objects that are put, by reference and uid, to `write`; what is put before `begin` is dropped."""

    def __init__(self, write: Write, *, weight: Weight) -> None:
        """`weight` is that of a namespace among the others."""
        self._write = write
        self._weight = weight
        self._running: Handover[tuple[Ref, str]] | None = None

    def begin(self, fence: Fence) -> Handover[tuple[Ref, str]]:
        """The writes of a leadership, to be run while it lasts."""

        async def work(key: tuple[Ref, str]) -> bool:
            return await self._write(*key, fence)

        self._running = Handover(work, weight=self._weight)
        return self._running

    def put(self, ref: Ref, uid: str) -> None:
        """Have an object written."""
        if self._running is not None:
            self._running.put(ref.namespace, (ref, uid))
