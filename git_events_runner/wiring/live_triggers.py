"""Whether a Job's trigger is deleted, by a live read: a cache that is behind must not cost a run."""

from __future__ import annotations

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeReader
from git_events_runner.errors import ApiNotFound
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref


class LiveTriggers:
    """Looks triggers up past the cache, and lays what it finds over it."""

    def __init__(self, *, reader: KubeReader, store: Store) -> None:
        self._reader = reader
        self._store = store

    async def is_deleted(self, job: Snapshot) -> bool:
        """Whether the trigger that a Job of ours was made for does not exist any more (also: another of its name).

        Raises:
            ApiError: The API server does not answer.
        """
        view = job.model
        if view.run is None or view.trigger_kind not in TRIGGERS or not view.trigger_name:
            return False
        try:
            found = await self._reader.get(Ref(view.trigger_kind, job.ref.namespace, view.trigger_name))
        except ApiNotFound:
            return True
        self._store.observe({**found, "kind": view.trigger_kind})
        return bool(found["metadata"]["uid"] != view.run.trigger_uid)
