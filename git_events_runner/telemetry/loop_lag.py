"""How late this process's tasks are: a loop that is held up (no CPU, a bug) makes leases, probes and answers late."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

log = structlog.get_logger(target="heartbeat")

_BEAT_S = 0.5
_LOGGED_S = 1.0


class Metrics(Protocol):
    """Where it is counted."""

    def loop_late(self, seconds: float) -> None:
        """A task that was to wake came on so much later."""


class LoopLag:
    """Wakes twice a second and measures how much too late."""

    def __init__(self, *, metrics: Metrics) -> None:
        self._metrics = metrics

    async def run(self) -> None:
        """Beat until cancelled; a second too late is logged."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            late_s = max(loop.time() - due, 0.0)
            self._metrics.loop_late(late_s)
            if late_s >= _LOGGED_S:
                log.warning("loop.late", seconds=round(late_s, 2))
