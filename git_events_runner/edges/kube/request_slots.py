"""Turns of requests to the API server: few under way at a time, by namespace in turn.

Requests of one namespace (status writes of a thousand triggers) would else wait before those of all others. Watches
take no turn: each holds a connection of its own for minutes. Nor do requests for Leases: leadership ends when one is
late, and in its own namespace, or among hundreds of namespaces, its turn could come seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib

from git_events_runner.concurrency.fairness import RoundRobin, Shares, equal

_UNDER_WAY = 64
_LEASES = "/apis/coordination.k8s.io/"


class RequestSlot:
    """One request's turn, for `async with`."""

    __slots__ = ("_namespace", "_turns")

    def __init__(self, turns: RequestSlots, namespace: str) -> None:
        self._turns = turns
        self._namespace = namespace

    async def __aenter__(self) -> None:
        await self._turns.admitted(self._namespace)

    async def __aexit__(self, *_: object) -> None:
        self._turns.end(self._namespace)


class RequestSlots:
    """At most 64 requests under way; one namespace alone has three quarters of them at most."""

    def __init__(self) -> None:
        self._shares = Shares(total=_UNDER_WAY, each=_UNDER_WAY, weight=equal, greed=3)
        self._waiting: RoundRobin[asyncio.Future[None]] = RoundRobin(weight=equal)

    def of(self, path: str) -> contextlib.AbstractAsyncContextManager[None]:
        """The turn of a request by its path.

        >>> RequestSlots().of("/api/v1/namespaces/team/secrets/x")._namespace
        'team'
        """
        if path.startswith(_LEASES):
            return contextlib.nullcontext()
        _, _, rest = path.partition("/namespaces/")
        return RequestSlot(self, rest.partition("/")[0])

    async def admitted(self, namespace: str) -> None:
        """Return when a request of the namespace may be sent."""
        if not len(self._waiting) and self._shares.may_acquire(namespace):
            self._shares.acquire(namespace)
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(namespace, admitted)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self.end(namespace)
            else:
                self._waiting.discard(namespace, admitted)
            raise

    def end(self, namespace: str) -> None:
        """A request has ended."""
        self._shares.give_back(namespace)
        self._admit()

    def _admit(self) -> None:
        while taken := self._waiting.pop(self._shares.may_acquire):
            namespace, admitted = taken
            if not admitted.done():
                self._shares.acquire(namespace)
                admitted.set_result(None)
