"""Objects that are to be handled again at a time, the earliest time for each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta


class Reminders:
    """Keys with a time of the loop."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def clear(self) -> None:
        """Forget all."""
        self._due.clear()

    def put(self, key: str, delays: Iterable[timedelta]) -> None:
        """Remind of a key after the shortest of these times, or at the earlier time that is known; of none: never."""
        now = asyncio.get_running_loop().time()
        first = min((now + delay.total_seconds() for delay in delays), default=None)
        if first is None:
            self._due.pop(key, None)
            return
        known = self._due.get(key)
        self._due[key] = first if known is None or known <= now else min(first, known)

    def due(self) -> list[str]:
        """Those whose time has come; they stay until they are put again, or dropped."""
        now = asyncio.get_running_loop().time()
        return [key for key, at in self._due.items() if at <= now]

    def drop(self, key: str) -> None:
        """Forget one."""
        self._due.pop(key, None)
