"""Removes the data of deleted triggers: their lanes, and their series in the metrics.

Work under way at a deletion may end after it and re-create a series: each minute the series of triggers
that do not exist are removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref

_SWEEP_S = 60.0


class TriggerCleanup:
    """Follows deletions of triggers."""

    def __init__(
        self,
        *,
        store: Store,
        forget_lane: Callable[[str], None],
        forget_metrics: Callable[[Ref], None],
        with_metrics: Callable[[], Collection[Ref]],
    ) -> None:
        """`with_metrics` gives the triggers that have series."""
        self._store = store
        self._forget_lane = forget_lane
        self._forget_metrics = forget_metrics
        self._with_metrics = with_metrics
        self._known: dict[Ref, str] = {}
        self._slices = Slices()

    async def run(self) -> None:
        """Remove data until cancelled."""
        with self._store.subscribe(declared=TRIGGERS) as changes:
            for kind in TRIGGERS:
                for trigger in self._store.all(kind):
                    self._known[trigger.ref] = trigger.uid
                    await self._slices.rest()
            next_sweep = asyncio.get_running_loop().time() + _SWEEP_S
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_sweep):
                        await changes.wait()
                for ref in changes.drain():
                    self._follow(ref)
                    await self._slices.rest()
                if asyncio.get_running_loop().time() >= next_sweep:
                    await self._sweep()
                    next_sweep = asyncio.get_running_loop().time() + _SWEEP_S

    def _follow(self, ref: Ref) -> None:
        """A trigger was created, changed or deleted; one of the same name with another uid is another trigger."""
        trigger, before = self._store.get(ref), self._known.get(ref)
        if before is not None and (trigger is None or trigger.uid != before):
            self._forget_lane(before)
            self._forget_metrics(ref)
            del self._known[ref]
        if trigger is not None:
            self._known[ref] = trigger.uid

    async def _sweep(self) -> None:
        """Remove the series of triggers that do not exist at that moment."""
        for ref in self._with_metrics():
            if self._store.get(ref) is None:
                self._forget_metrics(ref)
            await self._slices.rest()
