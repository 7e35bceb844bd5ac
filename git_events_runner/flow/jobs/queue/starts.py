"""Jobs that do not start release their slot: they are suspended again, and wait at the end of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError
from git_events_runner.resources.job import ADMITTED
from git_events_runner.resources.queuemarks import REQUEUED, REQUEUED_AT_ANNOTATION, REQUEUES_ANNOTATION
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.starting import JOB_NOT_STARTING, backoff_s, may_be_requeued, why
from git_events_runner.telemetry.metrics import Metrics

from .admission import ADMISSION_PATH
from .ports import Api
from .reports import Reports
from .slots import SlotBook

log = structlog.get_logger(target="queue")

_ANNOTATIONS = "/metadata/annotations"
_REQUEUES_PATH = f"{_ANNOTATIONS}/{REQUEUES_ANNOTATION.replace('/', '~1')}"
_REQUEUED_AT_PATH = f"{_ANNOTATIONS}/{REQUEUED_AT_ANNOTATION.replace('/', '~1')}"


class NotStarting:
    """Follows Jobs from the moment in which this leader sees that they may start.

    A Job of which it saw a ready or ended pod has started permanently: a lost node makes a pod not ready.
    """

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        book: SlotBook,
        reports: Reports,
        timeout_s: Callable[[], int],
        request_timeout_s: float,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`timeout_s` is that of Jobs which record none (0: they may start at any time)."""
        self._api = api
        self._store = store
        self._book = book
        self._reports = reports
        self._timeout_s = timeout_s
        self._request_timeout_s = request_timeout_s
        self._metrics = metrics
        self._now = now
        self._since: dict[str, tuple[int, float]] = {}  # uid of a Job → count of its suspensions, and since when
        self._seen: dict[str, tuple[int, float]] = {}  # those of this pass
        self._started: set[str] = set()

    def begin(self) -> None:
        """Leadership begins: all times run from now."""
        self._since.clear()
        self._started.clear()

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """Requests are sent while entered, those of different Jobs concurrently."""

        async def requeue(ref: Ref) -> bool:
            return await self._requeue(ref, fence)

        self._requeues = Handover(requeue)
        async with working(self._requeues):
            yield

    def begin_pass(self) -> None:
        """A pass over the Jobs begins."""
        self._seen = {}

    def follow(self, snapshot: Snapshot, now: float) -> None:
        """One of the Jobs that are not suspended."""
        view = snapshot.model
        if view.pod_started:
            self._started.add(snapshot.uid)
        if snapshot.uid in self._started or not may_be_requeued(view):
            return
        attempt, since = self._since.get(snapshot.uid, (-1, now))
        if attempt != view.suspensions.requeues:
            since = now
        self._seen[snapshot.uid] = (view.suspensions.requeues, since)
        limit_s, ref = self._limit_s(snapshot), snapshot.ref
        late = bool(limit_s) and now - since >= limit_s
        if late and self._book.is_run(snapshot) and not self._store.refused(ref.namespace, "Job"):
            self._requeues.put(ref.namespace, ref)

    def end_pass(self) -> None:
        """All of them were followed: the others have ended, or are suspended."""
        self._since = self._seen
        self._started = {uid for uid in self._started if self._store.by_uid("Job", uid) is not None}

    def _limit_s(self, snapshot: Snapshot) -> int:
        own: int | None = snapshot.model.start_timeout_s
        return self._timeout_s() if own is None else own

    async def _requeue(self, ref: Ref, fence: Fence) -> bool:
        """Suspend a Job in the seen version, and mark that the controller did so; False: retry.

        If its pod became ready meanwhile, it has another version, and the API server refuses.
        """
        snapshot, loop = self._store.get(ref), asyncio.get_running_loop()
        if snapshot is None or not may_be_requeued(snapshot.model) or snapshot.uid in self._started:
            return True
        view, limit_s = snapshot.model, self._limit_s(snapshot)
        attempt, since = self._since.get(snapshot.uid, (-1, loop.time()))
        if not limit_s or attempt != view.suspensions.requeues or loop.time() - since < limit_s:
            return True
        fence.check()
        requeues = view.suspensions.requeues + 1
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": snapshot.raw["metadata"]["resourceVersion"]},
            {"op": "test", "path": ADMISSION_PATH, "value": ADMITTED},
            {"op": "replace", "path": ADMISSION_PATH, "value": REQUEUED},
            {"op": "add", "path": _REQUEUES_PATH, "value": str(requeues)},
            {"op": "add", "path": _REQUEUED_AT_PATH, "value": rfc3339(self._now())},
            {"op": "add", "path": "/spec/suspend", "value": True},
        ]
        try:
            self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        except ApiError as error:
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        self._book.free(ref)
        await self._report(snapshot, limit_s, requeues)
        return True

    async def _report(self, snapshot: Snapshot, limit_s: int, requeues: int) -> None:
        ref, again_s = snapshot.ref, backoff_s(requeues)
        log.warning("job.requeued", namespace=ref.namespace, job=ref.name, seconds=limit_s)
        if (owner := owner_of(snapshot, self._store)) is None:
            return
        self._metrics.job_requeued(owner.trigger.ref)
        message = (
            f"Job {ref.name} has had no ready pod for {limit_s} s (startTimeoutSeconds): {why(snapshot.model)}. It was "
            f"suspended and has no slot; it is tried again after {again_s // 60} min"
        )
        await self._reports.warn(owner, JOB_NOT_STARTING, message)
