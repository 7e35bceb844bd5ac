"""Ends the process when the API server's data was set back to an older state, so that it starts from what is there.

The cache, the slots and the scheduled times of this process belong to a history that does not exist any more. From the
discovery on the client refuses every request except for Events (`edges/kube/history`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

import structlog

from git_events_runner.edges.kube.history import History
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import ImmediateEventRecorder
from git_events_runner.errors import ApiError, ClusterRestored
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

log = structlog.get_logger(target="app")

_PUBLISH_S = 2.0


class Metrics(Protocol):
    """Where a restore is counted."""

    def cluster_restored(self) -> None:
        """The API server's data was set back to an older state."""


class Restores:
    """Waits for a version that decreased."""

    def __init__(
        self,
        *,
        history: History,
        store: Store,
        metrics: Metrics,
        events: ImmediateEventRecorder,
        ref: Ref,
        identity: str,
    ) -> None:
        """`ref` is the object whose Events report it."""
        self._history = history
        self._store = store
        self._metrics = metrics
        self._events = events
        self._ref = ref
        self._identity = identity
        history.cached = lambda ref: _known(store.get(ref)) if ref.kind in KINDS else None  # else it is never kept

    async def run(self) -> None:
        """Wait until cancelled.

        Raises:
            ClusterRestored: The API server's data was set back to an older state.
        """
        problem = await self._history.turned()
        self._metrics.cluster_restored()
        log.error("cluster.restored", error=problem)
        note = f"the cluster's data was restored from an older state, {self._identity} starts again: {problem}"
        found = self._store.get(self._ref)
        if found is not None:
            with contextlib.suppress(ApiError, TimeoutError):
                async with asyncio.timeout(_PUBLISH_S):
                    await self._events.record(self._ref, found.uid, kind="Warning", reason="ClusterRestored", note=note)
        raise ClusterRestored(
            f"the API server's data was restored from an older state ({problem}); the process ends and has to be "
            "started again from what is there now"
        )


def _known(found: Snapshot | None) -> tuple[str, int] | None:
    return (found.uid, found.version) if found is not None else None
