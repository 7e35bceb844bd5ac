"""Once a second: Jobs that wait for too long, whose trigger is deleted, or that another party let run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from typing import Any

import structlog

from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError
from git_events_runner.resources.job import ELSEWHERE, WAITING
from git_events_runner.resources.queuemarks import REQUEUED
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.messages import Fence

from .admission import ADMISSION_PATH, Admission
from .ports import Api
from .replacing import Replacing
from .slots import SlotBook
from .starts import NotStarting
from .waiting import WaitingRuns
from .windows import JobWindows

log = structlog.get_logger(target="queue")

_ORPHANS = 4
_OURS_TO_LIFT = frozenset((WAITING, REQUEUED))


class Sweeps:
    """A pass over all Jobs that have not ended."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        book: SlotBook,
        windows: JobWindows,
        admission: Admission,
        waiting: WaitingRuns,
        replacing: Replacing,
        starts: NotStarting,
        request_timeout_s: float,
    ) -> None:
        self._api = api
        self._store = store
        self._book = book
        self._windows = windows
        self._admission = admission
        self._waiting = waiting
        self._replacing = replacing
        self._starts = starts
        self._request_timeout_s = request_timeout_s

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """Requests are sent while entered, those of different Jobs concurrently."""

        async def delete(ref: Ref) -> bool:
            await self._delete_orphan(ref, fence)
            return True

        async def note(ref: Ref) -> bool:
            await self._note_admitted_elsewhere(ref, fence)
            return True

        self._orphans, self._notes = Handover(delete), Handover(note)
        async with (
            self._waiting.working(fence),
            self._replacing.working(fence),
            self._starts.working(fence),
            working(self._orphans, self._notes),
        ):
            yield

    def sweep(self, now: float) -> None:
        """All of them, among the Jobs that have not ended."""
        held, orphans = self._book.held(now), 0
        self._waiting.begin_pass()
        self._starts.begin_pass()
        for snapshot in self._store.unfinished_jobs():
            ref, view = snapshot.ref, snapshot.model
            if view.limit is not None or view.suspensions.requeues or self._windows.bind(snapshot):
                self._replacing.follow(snapshot)
            if not view.waits:
                self._follow_running(snapshot, now, held)
            elif self._store.trigger(view.run.trigger_uid) is None:
                if orphans < _ORPHANS and (ref not in held or self._book.backs_off(ref)):
                    orphans += 1
                    self._book.hold(ref, now)
                    self._orphans.put(ref.namespace, ref)
            elif self._store.refused(ref.namespace, "Job"):
                continue  # it may run by now; its waiting time begins when it can be read
            elif (owner := owner_of(snapshot, self._store)) is not None:
                self._waiting.follow(snapshot, owner, now)
        self._waiting.end_pass()
        self._starts.end_pass()
        self._book.prune()
        self._book.count_namespaces()

    def _follow_running(self, snapshot: Snapshot, now: float, held: Container[Ref]) -> None:
        view, ref = snapshot.model, snapshot.ref
        if view.suspended:
            return
        if view.admission not in _OURS_TO_LIFT:
            self._starts.follow(snapshot, now)
        elif ref not in held and self._book.is_run(snapshot):
            self._notes.put(ref.namespace, ref)

    async def _delete_orphan(self, ref: Ref, fence: Fence) -> None:
        """Delete a few in each pass: a Job of no known trigger has no slot and never gets one."""
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
        word = snapshot.model.admission if snapshot is not None else None
        if snapshot is None or snapshot.model.suspended or word not in _OURS_TO_LIFT:
            return
        fence.check()
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "test", "path": ADMISSION_PATH, "value": word},
            {"op": "replace", "path": ADMISSION_PATH, "value": ELSEWHERE},
        ]
        try:
            self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        except ApiError as error:
            self._book.hold(ref, asyncio.get_running_loop().time())
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
