"""Forgets what belongs to triggers that are gone: their lanes, and their series in the metrics.

What was under way when a trigger was deleted may end after it and bring a series back: each minute those of triggers
that do not exist are removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref

_SWEEP_S = 60.0


class Gone:
    """Watches triggers vanish."""

    def __init__(
        self,
        *,
        store: Store,
        forget_lane: Callable[[str], None],
        forget_metrics: Callable[[Ref], None],
        keep_metrics: Callable[[Collection[Ref]], None],
    ) -> None:
        self._store = store
        self._forget_lane = forget_lane
        self._forget_metrics = forget_metrics
        self._keep_metrics = keep_metrics

    async def run(self) -> None:
        """Forget until cancelled."""
        known: dict[Ref, str] = {}
        with self._store.subscribe(*TRIGGERS) as changes:
            for kind in TRIGGERS:
                known |= {trigger.ref: trigger.uid for trigger in self._store.all(kind)}
            next_sweep = asyncio.get_running_loop().time() + _SWEEP_S
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_sweep):
                        await changes.wait()
                for ref in changes.take():
                    trigger = self._store.get(ref)
                    before = known.get(ref)
                    if before is not None and (trigger is None or trigger.uid != before):
                        self._forget_lane(before)
                        self._forget_metrics(ref)
                        del known[ref]
                    if trigger is not None:
                        known[ref] = trigger.uid
                if asyncio.get_running_loop().time() >= next_sweep:
                    self._keep_metrics(known)
                    next_sweep = asyncio.get_running_loop().time() + _SWEEP_S
