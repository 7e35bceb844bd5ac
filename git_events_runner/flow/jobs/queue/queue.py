"""The queue of a replica: gives slots to new Jobs, and to waiting ones while it is the leader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import ApiError, FenceLost
from git_events_runner.flow.ports import SecretCopier, StatusWriter
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.messages import Fence
from git_events_runner.telemetry.metrics import Metrics

from .admission import Admission
from .ports import Api, Deletions
from .replacing import Replacing
from .reports import Reports
from .slots import SlotBook
from .starts import NotStarting
from .sweeps import Sweeps
from .waiting import WaitingRuns
from .windows import JobWindows, WindowGate

log = structlog.get_logger(target="queue")

_PASS_S = 1.0
_GATHER_S = 0.02


class Queue:
    """Gives slots to Jobs while this replica is the leader (`run_as_leader`); else every new Job starts suspended."""

    def __init__(
        self,
        *,
        api: Api,
        list_jobs: Callable[[], AsyncIterator[dict[str, Any]]],
        store: Store,
        copies: SecretCopier,
        writer: StatusWriter,
        announcer: EventRecorder,
        gate: WindowGate,
        limit: Callable[[], int],
        share: Callable[[], int],
        weight: Callable[[str], int],
        waiting_timeout_s: Callable[[], int],
        start_timeout_s: Callable[[], int],
        request_timeout_s: float,
        deletions: Deletions,
        find_lost: Callable[[], Awaitable[None]],
        trigger_deleted: Callable[[Snapshot], Awaitable[bool]],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`find_lost` reads the Jobs live that are recorded and not known here, `trigger_deleted` a Job's trigger.

        `share` is what the runtime config allows one namespace (0: automatic), `weight` its turns in a round.
        """
        self._list_jobs = list_jobs
        self._store = store
        self._find_lost = find_lost
        self._limit = limit
        self._metrics = metrics
        windows = JobWindows(store=store, gate=gate)
        self._book = SlotBook(store=store, limit=limit, share=share, weight=weight, windows=windows, now=now)
        reports = Reports(writer=writer, announcer=announcer, now=now)
        self._admission = Admission(
            api=api,
            store=store,
            book=self._book,
            copies=copies,
            reports=reports,
            request_timeout_s=request_timeout_s,
            deletions=deletions,
            trigger_deleted=trigger_deleted,
            metrics=metrics,
            now=now,
        )
        self._waiting = WaitingRuns(
            store=store,
            book=self._book,
            timeout_s=waiting_timeout_s,
            windows=windows,
            deletions=deletions,
            reports=reports,
            metrics=metrics,
        )
        replacing = Replacing(
            api=api,
            store=store,
            book=self._book,
            windows=windows,
            deletions=deletions,
            request_timeout_s=request_timeout_s,
        )
        self._starts = NotStarting(
            api=api,
            store=store,
            book=self._book,
            reports=reports,
            timeout_s=start_timeout_s,
            request_timeout_s=request_timeout_s,
            metrics=metrics,
            now=now,
        )
        self._sweeps = Sweeps(
            api=api,
            store=store,
            book=self._book,
            windows=windows,
            admission=self._admission,
            waiting=self._waiting,
            replacing=replacing,
            starts=self._starts,
            request_timeout_s=request_timeout_s,
        )
        self._fence: Fence | None = None  # while this replica gives slots

    def acquire_slot(self, ref: Ref, limit: ConcurrencyLimit | None = None) -> bool:
        """Take a slot for a Job about to be created; False: none is free, an older Job waits, another is the leader.

        With a `limit` (what the Job records) its group must have a free slot, too. This process may have stalled: that
        it was the leader is not enough, its fence must hold.
        """
        if self._fence is None:
            return False
        try:
            self._fence.check()
        except FenceLost:
            return False
        now = asyncio.get_running_loop().time()
        if ref not in self._book.taken and not self._book.may_start(ref, now, limit):
            return False
        self._book.occupy(ref, now, limit)
        return True

    def release(self, ref: Ref) -> None:
        """Give the slot back: the Job was not created. It stays taken while an earlier request for it may arrive."""
        self._book.give_back(ref, asyncio.get_running_loop().time())

    def confirm(self, ref: Ref) -> None:
        """The Job occupies its slot itself now."""
        self._book.free(ref)

    def show(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.queue(*self._book.usage())

    async def run_as_leader(self, fence: Fence) -> None:
        """Admit and expire until leadership ends."""
        loop = asyncio.get_running_loop()
        await self._list_live(fence)
        self._book.count_namespaces()
        self._starts.begin()
        self._waiting.begin()  # slots of an earlier leadership stay taken: their requests may still arrive
        self._fence = fence
        try:
            with self._store.subscribe("Job") as changes:
                async with self._admission.working(fence, changes.note), self._sweeps.working(fence):
                    next_sweep = loop.time()
                    while True:
                        self._admission.confirm_occupied()
                        self._admission.admit()
                        if loop.time() >= next_sweep:
                            self._sweeps.sweep(loop.time())
                            next_sweep = loop.time() + _PASS_S
                        self.show()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout_at(next_sweep):
                                await changes.wait()
                                await asyncio.sleep(_GATHER_S)  # a pass reads all unfinished Jobs: changes share one
                        changes.drain()
        finally:
            self._fence = None
            self._metrics.queue(self._limit(), 0, 0)  # only the leader reports it: an old value would stay

    async def _list_live(self, fence: Fence) -> None:
        """Read every Job before the first is admitted: the cache may be older than the predecessor's writes."""
        while True:
            try:
                async for raw in self._list_jobs():
                    self._store.observe(raw)
                await self._find_lost()
            except ApiError as error:
                log.warning("queue.delayed", error=str(error))
                await asyncio.sleep(_PASS_S)
                fence.check()
            else:
                return
