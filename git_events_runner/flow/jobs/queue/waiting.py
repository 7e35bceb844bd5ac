"""Runs that wait for too long: an overtaken one is deleted, the newest one of a source is reported and stays queued."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError
from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner, owner_of, series_labels
from git_events_runner.rules.jobs.last_job import is_recorded_expired
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.overtaken import WAITING_FOR_SLOT, may_expire
from git_events_runner.telemetry.metrics import Metrics

from .ports import Deletions
from .reports import Reports
from .slots import SlotBook
from .windows import JobWindows

log = structlog.get_logger(target="queue")

_AGAIN_S = 10.0
_EXPIRE_S = 30.0  # a failing status write must not keep the Job from its slot


class WaitingRuns:
    """Waiting time runs from when this leader first saw a Job."""

    def __init__(
        self,
        *,
        store: Store,
        book: SlotBook,
        timeout_s: Callable[[], int],
        windows: JobWindows,
        deletions: Deletions,
        reports: Reports,
        metrics: Metrics,
    ) -> None:
        """`timeout_s` is that of Jobs which record none (0: they may wait for any time)."""
        self._store = store
        self._book = book
        self._timeout_s = timeout_s
        self._windows = windows
        self._deletions = deletions
        self._reports = reports
        self._metrics = metrics
        self._first_seen: dict[str, float] = {}  # by the uid of the Job
        self._seen: dict[str, float] = {}  # those of this pass
        self._late: Counter[Ref] = Counter()  # by trigger, in this pass
        self._reported: set[str] = set()
        self._closed: dict[str, bool] = {}  # by uid: Jobs outside their windows, and whether that is reported
        self._kept_closed: dict[str, bool] = {}

    def begin(self) -> None:
        """Leadership begins: waiting times run from now."""
        self._first_seen.clear()
        self._reported.clear()
        self._closed.clear()
        self._book.leaving.clear()

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """Requests are sent while entered, those of different Jobs concurrently."""

        async def expire(ref: Ref) -> bool:
            return await self._expire(ref, fence)

        self._expiries = Handover(expire, limit_s=_EXPIRE_S, backoff_s=(_AGAIN_S, _AGAIN_S))
        self._reports_due, self._closed_due = Handover(self._report), Handover(self._report_closed)
        try:
            async with working(self._expiries, self._reports_due, self._closed_due):
                yield
        finally:
            self._metrics.jobs_waiting_too_long({})

    def begin_pass(self) -> None:
        """A pass over the waiting Jobs begins."""
        self._seen, self._late, self._kept_closed = {}, Counter(), {}

    def follow(self, snapshot: Snapshot, owner: Owner[Snapshot], now: float) -> None:
        """One of the waiting Jobs."""
        ref = snapshot.ref
        if self._book.backs_off(ref):
            return  # it does not start; its waiting time begins when it waits for a slot again
        if self._windows.closed_until(ref) is not None:
            self._kept_closed[snapshot.uid] = self._closed.get(snapshot.uid, False)
            if not self._kept_closed[snapshot.uid] and not self._book.is_starting(ref):
                self._closed_due.put(ref.namespace, ref)
            return  # its waiting time begins at the opening
        since = self._seen[snapshot.uid] = self._first_seen.get(snapshot.uid, now)
        if self._book.is_starting(ref):
            return
        if self._is_expiring(snapshot, owner, now - since):
            self._expiries.put(ref.namespace, ref)
        elif self._is_late(snapshot, now - since):
            self._late[owner.trigger.ref] += 1
            if snapshot.uid not in self._reported:
                self._reports_due.put(ref.namespace, ref)

    def end_pass(self) -> None:
        """All of them were followed: the others do not wait any more."""
        self._first_seen, self._closed = self._seen, self._kept_closed
        self._reported &= self._seen.keys()
        self._metrics.jobs_waiting_too_long(self._late)

    def _limit_s(self, view: JobView) -> int:
        return self._timeout_s() if view.waiting_timeout_s is None else view.waiting_timeout_s

    def _is_late(self, snapshot: Snapshot, waited_s: float) -> bool:
        limit_s = self._limit_s(snapshot.model)
        return bool(limit_s) and waited_s >= limit_s

    def _is_expiring(self, snapshot: Snapshot, owner: Owner[Snapshot], waited_s: float) -> bool:
        """Whether a Job is to be deleted; another leader that recorded it as expired had begun to delete it."""
        if not self._limit_s(snapshot.model) or not owner.settled:
            return False
        if self._is_late(snapshot, waited_s) and may_expire(snapshot.model, owner):
            return True
        return is_recorded_expired(owner.trigger.raw.get("status"), owner.source, snapshot.ref.name)

    async def _report(self, ref: Ref) -> bool:
        """Report the newest run of a source, once; False: the status was not written."""
        snapshot = self._store.get(ref)
        owner = owner_of(snapshot, self._store) if snapshot is not None and snapshot.model.waits else None
        if snapshot is None or owner is None or snapshot.uid in self._reported:
            return True
        limit_s = self._limit_s(snapshot.model)
        message = (
            f"Job {ref.name}, the newest run, has waited longer than {limit_s} s for a slot "
            "(jobWaitingTimeoutSeconds); it starts when one is free"
        )
        if not await self._reports.warn(owner, WAITING_FOR_SLOT, message):
            return False
        self._reported.add(snapshot.uid)
        log.warning("job.waiting", namespace=ref.namespace, job=ref.name, seconds=limit_s)
        return True

    async def _report_closed(self, ref: Ref) -> bool:
        """Report a Job that found no slot before its window closed, once; False: the status was not written."""
        snapshot = self._store.get(ref)
        owner = owner_of(snapshot, self._store) if snapshot is not None else None
        until = self._windows.closed_until(ref)
        if snapshot is None or owner is None or until is None or self._closed.get(snapshot.uid):
            return True
        message = f"Job {ref.name} had no slot before its window closed (spec.windows); it starts {_opening(until)}"
        if not await self._reports.warn(owner, Reason.OUTSIDE_WINDOWS, message):
            return False
        self._closed[snapshot.uid] = self._kept_closed[snapshot.uid] = True
        log.info("job.waiting", namespace=ref.namespace, job=ref.name, reason=Reason.OUTSIDE_WINDOWS)
        return True

    async def _expire(self, ref: Ref, fence: Fence) -> bool:
        """Delete a Job that waited too long, which is not admitted meanwhile; False: retry.

        If a lost admission arrives first, the Job has another version, and the API server refuses.
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
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        finally:
            if self._deletions.phase_of(snapshot.uid) is None:  # else it is recorded as expired, and perhaps deleted
                self._book.leaving.discard(ref)
        self._book.leaving.discard(ref)
        labels = series_labels(snapshot, owner, self._store)
        self._metrics.job_ended(labels, ref.namespace or "", "Expired", None)
        log.info("job.expired", namespace=ref.namespace, job=ref.name, seconds=limit_s)
        return True


def _opening(until: datetime) -> str:
    return "when windows are edited: none opens any more" if until.year == datetime.max.year else f"at {rfc3339(until)}"
