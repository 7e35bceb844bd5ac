"""Admission: free slots are filled with waiting Jobs, each after its Secret exists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound, ApiUnavailable, SecretUnusable
from git_events_runner.flow.ports import SecretCopier
from git_events_runner.resources.job import ADMISSION_ANNOTATION, ADMITTED
from git_events_runner.resources.queuemarks import ADMITTED_AT_ANNOTATION, REQUEUED
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.starting import queued_at
from git_events_runner.telemetry.metrics import Metrics

from .ports import Api, Deletions
from .reports import Reports
from .slots import ARRIVES_S, SlotBook

log = structlog.get_logger(target="queue")

ADMISSION_PATH = f"/metadata/annotations/{ADMISSION_ANNOTATION.replace('/', '~1')}"
_ADMITTED_AT_PATH = f"/metadata/annotations/{ADMITTED_AT_ANNOTATION.replace('/', '~1')}"
_CONFIRM_S = 15.0


class Admission:
    """Admits Jobs while slots are free."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        book: SlotBook,
        copies: SecretCopier,
        reports: Reports,
        request_timeout_s: float,
        deletions: Deletions,
        trigger_deleted: Callable[[Snapshot], Awaitable[bool]],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`trigger_deleted` reads live."""
        self._api = api
        self._store = store
        self._book = book
        self._copies = copies
        self._reports = reports
        self._request_timeout_s = request_timeout_s
        self._deletions = deletions
        self._trigger_deleted = trigger_deleted
        self._metrics = metrics
        self._now = now
        self._read_at: dict[Ref, float] = {}  # when a slot's Job was last read

    @asynccontextmanager
    async def working(self, fence: Fence, wake: Callable[[Ref], None]) -> AsyncIterator[None]:
        """Requests are sent while entered; `wake` is called when one has ended without a change of its Job.

        Every Job has its own task: an admission webhook, a Secret or a status that is slow delays no other Job.
        """

        async def confirm(ref: Ref) -> bool:
            await self._confirm(ref)
            return True

        async def admit(ref: Ref) -> bool:
            if not await self._try(ref, fence):
                self._book.hold(ref, asyncio.get_running_loop().time())
            wake(ref)
            return True

        self._confirms, self._admissions = Handover(confirm), Handover(admit)
        async with working(self._confirms, self._admissions):
            yield

    def confirm_occupied(self) -> None:
        """Have Jobs read whose slots were taken for requests past their deadline: do they exist?"""
        now = asyncio.get_running_loop().time()
        for ref, since in self._book.taken.items():
            if now - max(since, self._read_at.get(ref, 0.0)) >= _CONFIRM_S:
                self._read_at[ref] = now
                self._confirms.put(ref.namespace, ref)
        self._read_at = {ref: at for ref, at in self._read_at.items() if ref in self._book.taken}

    async def _confirm(self, ref: Ref) -> None:
        """The request may still arrive later.

        So a Job that waits is admitted again. A slot whose Job does not exist is kept for a while: the run is tried
        again under the same name, and takes the same slot.
        """
        loop = asyncio.get_running_loop()
        try:
            self._store.observe(await self._api.get(ref))
        except ApiNotFound:
            if (since := self._book.taken.get(ref)) is not None and loop.time() - since >= ARRIVES_S:
                self._book.free(ref)
            return
        except ApiError:
            return
        if ref not in self._book.taken:
            return
        snapshot = self._store.get(ref)
        if snapshot is None or not snapshot.model.waits:
            self._book.free(ref)
            return
        self._book.occupy(ref, loop.time())
        self._admissions.put(ref.namespace, ref)

    def admit(self) -> None:
        """Have Jobs admitted while slots are free. One that cannot start is skipped: it must not block others.

        Their slots are taken before anything else can happen; the requests are sent concurrently.
        """
        now = asyncio.get_running_loop().time()
        for queued in self._book.next_admissions(now):
            self._book.occupy(queued.ref, now)
            self._admissions.put(queued.namespace, queued.ref)

    async def delete_orphan(self, snapshot: Snapshot, fence: Fence) -> bool:
        """Delete a waiting Job if a live read shows that its trigger is deleted."""
        if self._store.trigger(snapshot.model.run.trigger_uid) is not None or not await self._trigger_deleted(snapshot):
            return False
        await self._deletions.delete_orphan(snapshot, fence)
        return True

    async def _try(self, ref: Ref, fence: Fence) -> bool:
        """Whether that Job runs, or need not wait any more; False: a problem of the Job prevents it."""
        snapshot = self._store.get(ref)
        if snapshot is None or not snapshot.model.waits:
            self._book.give_back(ref, asyncio.get_running_loop().time())
            return True
        fence.check()
        try:
            return await self._start(snapshot, fence)
        except ApiNotFound:  # the Job is deleted, the cache stale: an immediate retry would get the same response
            self._book.free(ref)
        except SecretUnusable as error:
            self._book.hold(ref, asyncio.get_running_loop().time())
            self._book.give_back(ref, asyncio.get_running_loop().time())
            owner = owner_of(snapshot, self._store)
            if owner is not None:
                await self._reports.report(owner, Problem(reason=error.reason, message=str(error)))
            return True
        except ApiUnavailable as error:
            self._book.doubt(ref, asyncio.get_running_loop().time())
            log.warning("job.unconfirmed", namespace=ref.namespace, job=ref.name, error=str(error))
            return True
        except ApiError as error:
            await self._free_if_refused(ref)
            log.warning("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
        return False

    async def _free_if_refused(self, ref: Ref) -> None:
        """The last request was refused: perhaps an earlier one has arrived, and the cache is stale."""
        try:
            self._store.observe(await self._api.get(ref))
        except ApiNotFound:
            self._book.free(ref)
        except ApiError:
            return  # it is read again after the deadline of the request
        self._book.give_back(ref, asyncio.get_running_loop().time())

    async def _start(self, snapshot: Snapshot, fence: Fence) -> bool:
        """Admit one Job after its Secret exists; delete it if its trigger is deleted. False: it does not run now."""
        ref, view = snapshot.ref, snapshot.model
        owner = owner_of(snapshot, self._store)
        if owner is None:
            if await self.delete_orphan(snapshot, fence):
                self._book.give_back(ref, asyncio.get_running_loop().time())
                return True
            owner = owner_of(snapshot, self._store)  # the live read may have found its trigger
            if owner is None:
                self._book.give_back(ref, asyncio.get_running_loop().time())
                return False
        if view.needs_secret:
            if owner.trigger.model is None:
                raise SecretUnusable(f"the trigger is not valid: {owner.trigger.invalid}", reason="InvalidSpec")
            await self._copies.copy_for(snapshot.raw, owner.trigger.model, owner.source)
            fence.check()
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "test", "path": "/spec/suspend", "value": True},
            {"op": "test", "path": ADMISSION_PATH, "value": view.admission},
            *self._tests_and_marks(snapshot),
            {"op": "add", "path": ADMISSION_PATH, "value": ADMITTED},
            {"op": "replace", "path": "/spec/suspend", "value": False},
        ]
        self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        self._book.free(ref)
        since = queued_at(view)
        waited_s = (self._now() - since).total_seconds() if since else 0.0
        self._metrics.job_waited(max(waited_s, 0.0))
        log.info("job.admitted", namespace=ref.namespace, job=ref.name, seconds=round(waited_s, 3))
        return True

    def _tests_and_marks(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """Tests that the suspension is still ours, and the record that the controller lifted it.

        A Job that was never resumed has no start time; one that did not start has the generation that we gave it.
        """
        if snapshot.model.admission == REQUEUED:
            return [{"op": "test", "path": "/metadata/generation", "value": snapshot.generation}]
        return [
            {"op": "test", "path": "/status/startTime", "value": None},
            {"op": "add", "path": _ADMITTED_AT_PATH, "value": rfc3339(self._now())},
        ]
