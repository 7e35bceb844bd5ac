"""How much of what git servers send may be held: small trees at any time, large ones a few at a time.

A commit's trees are almost always small: a pack within `SMALL_PACK_BYTES`, trees within `SMALL_TREE_BYTES`. The number
of requests under way limits them. Anything larger needs a slot, which is taken before the tree is received and given
back when nothing refers to the tree any more. There are two slots, and a namespace has at most one.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any
from weakref import WeakValueDictionary

SMALL_PACK_BYTES = 2 * 2**20
SMALL_TREE_BYTES = 4 * 2**20
_PLACES = 2


class NotSmall(Exception):
    """A pack is larger than allowed without a slot."""


class Reservation:
    """Permission to hold one large tree; given back once, from any thread."""

    def __init__(self, *semaphores: asyncio.Semaphore) -> None:
        self._semaphores = semaphores
        self._loop = asyncio.get_running_loop()
        self._held = True

    def give_back(self) -> None:
        """Release it for the next caller."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._release)

    def hold_for(self, tree: Any) -> None:
        """Give it back when nothing refers to the tree."""
        weakref.finalize(tree, self.give_back).atexit = False

    def _release(self) -> None:
        if self._held:
            self._held = False
            for semaphore in self._semaphores:
                semaphore.release()


class LargeTrees:
    """Slots for large trees: two, of which a namespace has at most one.

    So at most two packs and their trees are held, in addition to one small tree for each request under way.
    """

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(_PLACES)
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def reserve(self, namespace: str) -> Reservation:
        """A slot for a tree of that namespace, when it is its turn."""
        own = self._own.setdefault(namespace, asyncio.Semaphore(1))
        await own.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            own.release()
            raise
        return Reservation(self._all, own)
