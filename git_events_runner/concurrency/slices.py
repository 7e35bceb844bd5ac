"""Slices of time for loops over many objects: after a few milliseconds the rest of the program has its turn.

What such a loop found out before it let others work may be true no more after it: the loop reads the store for each
object when its turn comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

_SLICE_S = 0.003  # a dozen such loops may work in the same turn of the event loop


class Slices:
    """Measures how long a loop has worked since it let others work; for one loop at a time."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the loop has to let others work."""
        return time.monotonic() - self._began >= _SLICE_S

    async def rest(self) -> None:
        """Let others work if the slice is over; else return immediately."""
        if self.over:
            await asyncio.sleep(0)
            self.begin()

    async def run(self, steps: Iterable[object]) -> None:
        """Take all steps of a generator, in slices."""
        for _ in steps:
            await self.rest()

    def begin(self) -> None:
        """A new slice begins: others have worked."""
        self._began = time.monotonic()
