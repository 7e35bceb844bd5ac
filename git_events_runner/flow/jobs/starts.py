"""Jobs that do not start: no ready or ended pod for ten minutes, or suspended for that. The leader counts them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.starting import is_not_starting
from git_events_runner.telemetry.metrics import Metrics

_PASS_S = 15.0


class Starts:
    """Keeps the gauge of Jobs that do not start while this replica is the leader."""

    def __init__(self, *, store: Store, metrics: Metrics, now: Callable[[], datetime]) -> None:
        self._store = store
        self._metrics = metrics
        self._now = now

    async def run_as_leader(self, _: Fence) -> None:
        """Count until leadership ends; then the gauge has no series."""
        try:
            while True:
                self._metrics.jobs_not_starting(self._count())
                await asyncio.sleep(_PASS_S)
        finally:
            self._metrics.jobs_not_starting({})

    def _count(self) -> Counter[Ref]:
        """How many there are of each trigger."""
        now, found = self._now(), Counter[Ref]()
        for snapshot in self._store.unfinished_jobs():
            if is_not_starting(snapshot.model, now) and (owner := owner_of(snapshot, self._store)) is not None:
                found[owner.trigger.ref] += 1
        return found
