"""The slots of checks: namespaces share them by weighted round-robin, and slow checks soon have none.

docs/decisions/0014-slots-by-namespace.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from git_events_runner.concurrency.fairness import RoundRobin, Shares, Weight

_QUICK_S = 0.2  # a check that takes longer waits for a server, not for this process
_SPREAD = 8  # checks under way in all namespaces, per check that one namespace may have


class Slot:
    """One check's slot, for `async with`."""

    __slots__ = ("_namespace", "_slots", "_slow", "_timer", "quick")

    def __init__(self, slots: Slots, namespace: str, slow: Callable[[], None]) -> None:
        """`slow` is called when the check turns out to be slow."""
        self._slots = slots
        self._namespace = namespace
        self._slow = slow
        self._timer: asyncio.TimerHandle | None = None
        self.quick = True

    async def __aenter__(self) -> Self:
        await self._slots.admitted(self._namespace)
        self._timer = asyncio.get_running_loop().call_later(_QUICK_S, self._hand_back)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._slots.end(self._namespace, quick=self.quick)

    def _hand_back(self) -> None:
        self.quick = False
        self._slots.hand_back()
        self._slow()


class Slots:
    """The slots of one cause: `parallelism` in all namespaces for recent checks, and in each namespace for all.

    So a namespace with slow servers has at most its maximum of checks under way, and delays those of other namespaces
    by a moment at most. All namespaces together have at most eight times as many, with a share always free (`Shares`).
    """

    def __init__(self, parallelism: int, weight: Weight) -> None:
        self._quick = parallelism
        self._shares = Shares(total=parallelism * _SPREAD, each=parallelism, weight=weight)
        self._waiting: RoundRobin[asyncio.Future[None]] = RoundRobin(weight=weight)

    def slot(self, namespace: str, slow: Callable[[], None]) -> Slot:
        """A slot for one check; entered when it is the turn of its namespace. `slow`: called when the check is slow."""
        return Slot(self, namespace, slow)

    async def admitted(self, namespace: str) -> None:
        """Return when a check of the namespace may begin."""
        if self._quick and not len(self._waiting) and self._shares.may_acquire(namespace):
            self._acquire(namespace)
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(namespace, admitted)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self.end(namespace, quick=True)
            raise

    def end(self, namespace: str, *, quick: bool) -> None:
        """A check ended; `quick`: it still held its first slot."""
        self._quick += quick
        self._shares.give_back(namespace)
        self._admit()

    def hand_back(self) -> None:
        """A check is slow: another may begin."""
        self._quick += 1
        self._admit()

    def _admit(self) -> None:
        while self._quick and (taken := self._waiting.pop(self._shares.may_acquire)):
            namespace, admitted = taken
            if not admitted.done():
                self._acquire(namespace)
                admitted.set_result(None)

    def _acquire(self, namespace: str) -> None:
        self._quick -= 1
        self._shares.acquire(namespace)
