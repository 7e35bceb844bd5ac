"""Reports how far this machine's clock is off the API server's: metric, log, and an Event when it is too far."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.resources.ref import Ref

log = structlog.get_logger(target="clock")

_EACH_S = 5.0


class Clock(Protocol):
    """This machine's clock against the API server's."""

    @property
    def skew_s(self) -> float | None:
        """How far it is ahead; None: not known yet."""

    @property
    def wrong(self) -> bool:
        """Whether it is too far off to be used."""


class Metrics(Protocol):
    """Where the skew is exported."""

    def clock_skew(self, seconds: float) -> None:
        """This machine's clock is so far ahead of the API server's."""


class ClockSkew:
    """Reads the skew every few seconds."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        announcer: EventRecorder,
        store: Store,
        ref: Ref,
        identity: str,
    ) -> None:
        """`ref` is the object whose Events report it."""
        self._clock = clock
        self._metrics = metrics
        self._announcer = announcer
        self._store = store
        self._ref = ref
        self._identity = identity

    async def run(self) -> None:
        """Report until cancelled."""
        wrong = False
        while True:
            skew_s = self._clock.skew_s
            if skew_s is not None:
                self._metrics.clock_skew(skew_s)
                if self._clock.wrong is not wrong:
                    wrong = not wrong
                    self._report(skew_s, wrong=wrong)
            await asyncio.sleep(_EACH_S)

    def _report(self, skew_s: float, *, wrong: bool) -> None:
        if not wrong:
            log.info("clock.corrected", seconds=round(skew_s, 1))
            return
        way = "ahead of" if skew_s > 0 else "behind"
        note = f"the clock of {self._identity} is {abs(skew_s):.0f} s {way} the API server's, whose time is used"
        log.warning("clock.skewed", seconds=round(skew_s, 1))
        found = self._store.get(self._ref)
        if found is not None:
            self._announcer.publish(self._ref, found.uid, kind="Warning", reason="ClockSkewed", note=note)
