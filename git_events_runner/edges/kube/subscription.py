"""Which objects have changed: references that the store notes for one reader, until the reader takes them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from git_events_runner.resources.ref import Ref


class Subscription:
    """The references that changed since they were last taken; many changes of one object count once."""

    def __init__(self, subscribers: list[Subscription], *, kinds: frozenset[str], declared: frozenset[str]) -> None:
        """`kinds` are noted at each change, `declared` when what is declared has changed: not at a status or label."""
        self._subscribers = subscribers
        self._kinds = kinds
        self._declared = declared
        self._dirty: set[Ref] = set()
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        """Start to collect."""
        self._subscribers.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Collect no more."""
        self._subscribers.remove(self)

    def note(self, ref: Ref, *, declared: bool = True) -> None:
        """An object changed, appeared or was deleted; whether what it declares has changed."""
        if ref.kind in self._kinds or (declared and ref.kind in self._declared):
            self._dirty.add(ref)
            self._event.set()

    async def wait(self) -> None:
        """Return when something changed that was not taken yet."""
        await self._event.wait()

    async def wait_for(self, seconds: float) -> None:
        """The same, but at the latest after so many seconds; without an exception, so that a clock can use it often."""
        timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
            if not self._dirty:
                self._event.clear()

    def drain(self) -> set[Ref]:
        """What changed; it is forgotten here."""
        dirty, self._dirty = self._dirty, set()
        self._event.clear()
        return dirty
