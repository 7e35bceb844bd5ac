"""Live updates: a number that rises when something has changed, and streams of server-sent events that report it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import ACTIONS, NOTIFIERS, SOURCES, TRIGGERS

_GATHER_S = 0.5
_PING_S = 15.0
_LONGEST_S = 600.0
RETRY_MS = 3000


class Changes:
    """Follows the store; `version` rises at most twice a second."""

    def __init__(self, *, store: Store) -> None:
        self._store = store
        self._wake: set[asyncio.Event] = set()
        self.version = 0
        self.closed = False

    async def run(self) -> None:
        """Follow the store until cancelled; streams end then."""
        try:
            with self._store.subscribe(*TRIGGERS, *NOTIFIERS, "Job", declared=(*SOURCES, *ACTIONS)) as changes:
                while True:
                    await changes.wait()
                    changes.drain()
                    self.version += 1
                    self._wake_all()
                    await asyncio.sleep(_GATHER_S)
        finally:
            self.closed = True
            self._wake_all()

    def _wake_all(self) -> None:
        for event in self._wake:
            event.set()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._wake)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: one for each change, a comment while nothing changes; it ends after some minutes.

        The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
        """
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        ends_at = loop.time() + _LONGEST_S
        self._wake.add(event)
        try:
            yield f"retry: {RETRY_MS}\n: connected\n\n".encode()
            while not self.closed and loop.time() < ends_at:
                event.clear()
                try:
                    async with asyncio.timeout(_PING_S):
                        await event.wait()
                except TimeoutError:
                    yield b": nothing has changed\n\n"
                else:
                    if not self.closed:
                        yield f"event: changed\ndata: {self.version}\n\n".encode()
        finally:
            self._wake.discard(event)
