"""How many messages are sent at the same time: of all namespaces, and of one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

_TOGETHER = 16
_OF_A_NAMESPACE = 4


class RequestSlots:
    """Receivers of one namespace that do not answer leave slots to those of the others."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(_TOGETHER)
        self._by_namespace: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of(self, namespace: str) -> AsyncIterator[None]:
        """Hold a slot for a message about a trigger of this namespace."""
        own = self._by_namespace.get(namespace)
        if own is None:
            own = self._by_namespace[namespace] = asyncio.Semaphore(_OF_A_NAMESPACE)
        async with own, self._all:
            yield
