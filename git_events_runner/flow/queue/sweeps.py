"""Once a second: Jobs that waited too long, whose trigger is gone, or that another party let run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError
from git_events_runner.handover import Handover, working
from git_events_runner.resources.job import ELSEWHERE, WAITING, JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner, owner_of, series_labels
from git_events_runner.rules.lastjob import is_recorded_expired
from git_events_runner.rules.messages import Fence
from git_events_runner.telemetry import Metrics

from .admission import ADMISSION_PATH, Admission
from .ports import Api, Deletions
from .slots import SlotBook

log = structlog.get_logger(target="queue")

_ORPHANS = 4
_AGAIN_S = 10.0


class Sweeps:
    """Ends what waits in vain; waiting time runs from when this leader first saw a Job."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        book: SlotBook,
        admission: Admission,
        waiting_timeout_s: Callable[[], int],
        request_timeout_s: float,
        deletions: Deletions,
        metrics: Metrics,
    ) -> None:
        self._api = api
        self._store = store
        self._book = book
        self._admission = admission
        self._waiting_timeout_s = waiting_timeout_s
        self._request_timeout_s = request_timeout_s
        self._deletions = deletions
        self._metrics = metrics
        self._first_seen: dict[str, float] = {}

    def begin(self) -> None:
        """Leadership begins: waiting times run from now."""
        self._first_seen.clear()
        self._book.leaving.clear()

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """Requests are sent while entered, those of different Jobs side by side."""

        async def expire(ref: Ref) -> bool:
            return await self._expire(ref, fence)

        async def delete(ref: Ref) -> bool:
            await self._delete_orphan(ref, fence)
            return True

        async def note(ref: Ref) -> bool:
            await self._note_admitted_elsewhere(ref, fence)
            return True

        self._expiries = Handover(expire, backoff_s=(_AGAIN_S, _AGAIN_S))
        self._orphans, self._notes = Handover(delete), Handover(note)
        async with working(self._expiries, self._orphans, self._notes):
            yield

    def sweep(self, now: float) -> None:
        """All of them, among the Jobs that have not ended."""
        held, orphans, first_seen = self._book.held(now), 0, {}
        for snapshot in self._store.unfinished_jobs():
            ref, view = snapshot.ref, snapshot.model
            if not view.waits:
                if not view.suspended and view.admission == WAITING and ref not in held and self._book.is_run(snapshot):
                    self._notes.put(ref.namespace, ref)
            elif self._store.trigger(view.run.trigger_uid) is None:
                if orphans < _ORPHANS and ref not in held:
                    orphans += 1
                    self._book.hold(ref, now)
                    self._orphans.put(ref.namespace, ref)
            elif self._store.refused(ref.namespace, "Job"):
                continue  # it may run by now; its waiting time begins when it can be read
            elif (owner := owner_of(snapshot, self._store)) is not None:
                since = first_seen[snapshot.uid] = self._first_seen.get(snapshot.uid, now)
                if not self._book.is_starting(ref) and self._is_expiring(snapshot, owner, now - since):
                    self._expiries.put(ref.namespace, ref)
        self._first_seen = first_seen
        self._book.prune()
        self._book.count_namespaces()

    def _limit_s(self, view: JobView) -> int:
        return self._waiting_timeout_s() if view.waiting_timeout_s is None else view.waiting_timeout_s

    def _is_expiring(self, snapshot: Snapshot, owner: Owner[Snapshot], waited_s: float) -> bool:
        """Whether a Job has waited too long; the time runs from when this leader first saw it.

        What another leader has recorded as expired it had begun to delete.
        """
        limit_s = self._limit_s(snapshot.model)
        if not limit_s or not owner.settled:
            return False
        if waited_s >= limit_s:
            return True
        return is_recorded_expired(owner.trigger.raw.get("status"), owner.source, snapshot.ref.name)

    async def _delete_orphan(self, ref: Ref, fence: Fence) -> None:
        """A few in each pass: a Job of no trigger that we know holds no slot and never gets one."""
        snapshot = self._store.get(ref)
        if snapshot is None or not snapshot.model.waits:
            return
        try:
            await self._admission.delete_orphan(snapshot, fence)
        except ApiError as error:
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))

    async def _note_admitted_elsewhere(self, ref: Ref, fence: Fence) -> None:
        """A waiting Job that another party let run is not ours to resume from now on, also if it is suspended again."""
        snapshot = self._store.get(ref)
        if snapshot is None or snapshot.model.suspended or snapshot.model.admission != WAITING:
            return
        fence.check()
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "test", "path": ADMISSION_PATH, "value": WAITING},
            {"op": "replace", "path": ADMISSION_PATH, "value": ELSEWHERE},
        ]
        try:
            self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        except ApiError as error:
            self._book.hold(ref, asyncio.get_running_loop().time())
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))

    async def _expire(self, ref: Ref, fence: Fence) -> bool:
        """Delete a Job that waited too long, which is not admitted meanwhile; False: it has to be tried again.

        If a lost admission arrives before, the API server refuses: the Job has another version then.
        """
        snapshot, now = self._store.get(ref), asyncio.get_running_loop().time()
        owner = owner_of(snapshot, self._store) if snapshot is not None and snapshot.model.waits else None
        if (
            snapshot is None
            or owner is None
            or self._book.is_starting(ref)
            or not self._is_expiring(snapshot, owner, now - self._first_seen.get(snapshot.uid, now))
        ):
            self._book.leaving.discard(ref)
            return True
        limit_s = self._limit_s(snapshot.model)
        message = f"Job {ref.name} waited {limit_s} s for a slot (maxRunningJobs): deleted before it started"
        self._book.leaving.add(ref)
        try:
            await self._deletions.expire(snapshot, owner, message, fence)
        except ApiError as error:
            if self._deletions.phase_of(snapshot.uid) is None:  # else it is told as expired, and perhaps deleted
                self._book.leaving.discard(ref)
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        self._book.leaving.discard(ref)
        labels = series_labels(snapshot, owner, self._store)
        self._metrics.job_ended(labels, ref.namespace or "", "Expired", None)
        log.info("job.expired", namespace=ref.namespace, job=ref.name, seconds=limit_s)
        return True
