"""Once a second: Jobs that waited too long, whose trigger is gone, or that another party let run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError
from git_events_runner.resources.job import ELSEWHERE, WAITING, JobView
from git_events_runner.rules.deletion import is_recorded_expired
from git_events_runner.rules.identity import owner_of, series_labels
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.queue import Queued
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
        self._again_at: dict[str, float] = {}

    def begin(self) -> None:
        """Leadership begins: waiting times run from now."""
        self._first_seen.clear()

    async def sweep(self, fence: Fence, now: float) -> None:
        """All of them."""
        await self._expire(fence, now)
        await self._delete_orphans(fence, now)
        await self._note_admitted_elsewhere(fence, now)

    async def _delete_orphans(self, fence: Fence, now: float) -> None:
        """A few in each pass: a Job of no trigger that we know holds no slot and never gets one."""
        held = self._book.held(now)
        waiting = (
            snapshot
            for snapshot in self._store.all("Job")
            if Queued(ref=snapshot.ref, job=snapshot.model).waits
            and snapshot.ref not in held
            and self._store.trigger(snapshot.model.run.trigger_uid) is None
        )
        for snapshot in list(islice(waiting, _ORPHANS)):
            try:
                deleted = await self._admission.delete_orphan(snapshot, fence)
            except ApiError as error:
                deleted = False
                log.debug("job.delayed", namespace=snapshot.ref.namespace, job=snapshot.ref.name, error=str(error))
            if not deleted:
                self._book.hold(snapshot.ref, now)

    async def _note_admitted_elsewhere(self, fence: Fence, now: float) -> None:
        """A waiting Job that another party let run is not ours to resume from now on, also if it is suspended again."""
        held = self._book.held(now)
        for snapshot in self._store.all("Job"):
            ref, view = snapshot.ref, snapshot.model
            if (
                view.suspended
                or view.finished
                or view.admission != WAITING
                or ref in held
                or not self._book.is_run(snapshot)
            ):
                continue
            fence.check()
            patch: list[dict[str, Any]] = [
                {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
                {"op": "test", "path": ADMISSION_PATH, "value": WAITING},
                {"op": "replace", "path": ADMISSION_PATH, "value": ELSEWHERE},
            ]
            try:
                self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
            except ApiError as error:
                self._book.hold(ref, now)
                log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))

    async def _expire(self, fence: Fence, now: float) -> None:
        """Delete Jobs that waited too long; the time runs from when this leader first saw them.

        What another leader has recorded as expired it had begun to delete.
        """
        waiting = {}
        for snapshot in self._store.all("Job"):
            if not Queued(ref=snapshot.ref, job=snapshot.model).waits or snapshot.ref in self._book.taken:
                continue
            owner = owner_of(snapshot, self._store)
            if owner is None:
                continue
            waiting[snapshot.uid] = self._first_seen.get(snapshot.uid, now)
            view: JobView = snapshot.model
            limit_s = self._waiting_timeout_s() if view.waiting_timeout_s is None else view.waiting_timeout_s
            recorded = is_recorded_expired(owner.trigger.raw.get("status"), owner.source, snapshot.ref.name)
            if not limit_s or not (recorded or now - waiting[snapshot.uid] >= limit_s):
                continue
            if not owner.settled or self._again_at.get(snapshot.uid, now) > now:
                continue
            message = (
                f"Job {snapshot.ref.name} waited {limit_s} s for a slot (maxRunningJobs): deleted before it started"
            )
            try:
                await self._deletions.expire(snapshot, owner, message, fence)
            except ApiError as error:
                self._again_at[snapshot.uid] = now + _AGAIN_S
                log.debug("job.delayed", namespace=snapshot.ref.namespace, job=snapshot.ref.name, error=str(error))
                continue
            labels = series_labels(snapshot, owner, self._store)
            self._metrics.job_ended(labels, snapshot.ref.namespace or "", "Expired", None)
            log.info("job.expired", namespace=snapshot.ref.namespace, job=snapshot.ref.name, seconds=limit_s)
        self._again_at = {uid: at for uid, at in self._again_at.items() if uid in waiting}
        self._first_seen = waiting
        self._book.prune()
        self._book.count_namespaces()
