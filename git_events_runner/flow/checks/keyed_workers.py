"""Lanes: one check at a time per source; requests that arrive meanwhile are merged, failures are retried later.

Nothing queued here can be lost: the status records requests, the schedule gives scheduled times. The sources of a
trigger share its lane (`lane`), all triggers the slots of checks (`slots`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.rules.messages import CheckRequest, Requeue

from .lane import Lane
from .slots import Slots

_FIRST_BACKOFF_S = 1.0
_IDLE_KEPT = 256  # thousands of triggers have nothing to check most of the time: a lane is 2.5 KB


class KeyedWorkers:
    """Runs `check` for each request, those of a source in sequence, concurrently within the slots of its cause."""

    def __init__(
        self,
        *,
        check: Callable[[CheckRequest], Awaitable[Requeue | None]],
        schedule_parallelism: int,
        webhook_parallelism: int,
        longest_backoff_s: float,
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._check = check
        self._due = Slots(schedule_parallelism, weight)
        self._called = Slots(webhook_parallelism, weight)
        self._longest_backoff_s = longest_backoff_s
        self._lanes: dict[str, Lane] = {}
        self._idle: BoundedDict[str, Lane] = BoundedDict(_IDLE_KEPT)  # they know which sources were checked just now
        self._before: list[tuple[str, Lane, bool]] = []  # what came before `run` began
        self._group: asyncio.TaskGroup | None = None  # while it runs
        self._working = 0
        self._closing = False
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    def submit(self, request: CheckRequest) -> None:
        """Request a check; merges with one that waits or will be retried. Ignored while draining."""
        if self._closing:
            return
        lane = self._lanes.get(request.uid)
        if lane is None:
            lane = self._idle.pop(request.uid, None) or Lane(request.trigger.namespace or "")
            self._lanes[request.uid] = lane
        lane.put(request, asyncio.get_running_loop().time())
        self._enlist(request.uid, lane)

    def hold(self, *, held: bool) -> None:
        """Start no check while held (the CRDs would drop written fields)."""
        if held:
            self._open.clear()
        else:
            self._open.set()

    def forget(self, uid: str) -> None:
        """The trigger is deleted: none of its checks waits any more."""
        self._idle.pop(uid, None)
        lane = self._lanes.get(uid)
        if lane:
            lane.clear()
            lane.deleted = True
            if not lane.workers:
                del self._lanes[uid]

    def pending(self, uid: str, source: str | None = None) -> bool:
        """Whether a check of that trigger (of one source of it) is under way or waits (also for its back-off)."""
        lane = self._lanes.get(uid)
        if lane is None or source is None:
            return bool(lane and (lane.workers or lane.waiting or lane.retries))
        return source in lane.under_way or source in lane.waiting or source in lane.retries

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for uid, lane, scheduled in self._before:
                    group.create_task(self._work(uid, lane, scheduled=scheduled))
                self._before.clear()
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def drain(self) -> None:
        """Accept no new checks and return when those under way have ended."""
        self._closing = True
        self._open.set()
        for lane in self._lanes.values():
            lane.clear()
        await self._empty.wait()

    def _enlist(self, uid: str, lane: Lane) -> None:
        """Start workers for the checks of a trigger that may begin now; the others follow when their time comes."""
        loop = asyncio.get_running_loop()
        while (scheduled := lane.enlist(loop.time())) is not None:
            self._working += 1
            self._empty.clear()
            if self._group is None:
                self._before.append((uid, lane, scheduled))
            else:
                self._group.create_task(self._work(uid, lane, scheduled=scheduled))
        if lane.spaced is None and (at := lane.next_ready) is not None:
            lane.spaced = loop.call_at(at, self._enlist_spaced, uid, lane)

    def _enlist_spaced(self, uid: str, lane: Lane) -> None:
        lane.spaced = None
        self._enlist(uid, lane)

    async def _work(self, uid: str, lane: Lane, *, scheduled: bool) -> None:
        """One check of a trigger: of the source that is the most urgent when it has its slot."""
        slots = self._due if scheduled else self._called
        request = again = None
        while True:
            await self._open.wait()
            async with slots.slot(lane.namespace, partial(self._slow, uid, lane)) as slot:
                if not self._open.is_set():
                    continue  # held while it waited for its slot
                request = lane.start(asyncio.get_running_loop().time(), scheduled=scheduled)
                if request is not None:
                    again = await self._check(request)
                break
        if request is not None:
            self._ended(lane, request, again)
        lane.end(request, asyncio.get_running_loop().time(), quick=slot.quick)
        self._working -= 1
        self._enlist(uid, lane)
        if lane.deleted and not lane.workers:
            self._lanes.pop(uid, None)
        elif lane.idle:
            self._idle[uid] = self._lanes.pop(uid)
        if not self._working:
            self._empty.set()

    def _slow(self, uid: str, lane: Lane) -> None:
        """A check is slow: the next one may begin."""
        lane.quick -= 1
        self._enlist(uid, lane)

    def _ended(self, lane: Lane, request: CheckRequest, again: Requeue | None) -> None:
        """A check ended; `again`: when it is to be retried."""
        source, loop = request.source, asyncio.get_running_loop()
        failures, expired = 0, False
        if again is not None and again.failed:
            failures = lane.failures[source] = lane.failures.get(source, 0) + 1
            since = lane.failing_since.setdefault(source, loop.time())
            expired = again.limit_s is not None and loop.time() - since > again.limit_s
        if again is None or not again.failed or expired:
            lane.failures.pop(source, None)
            lane.failing_since.pop(source, None)
        if again is None or self._closing or lane.deleted or expired:
            return
        request = replace(request, retry=True)
        if source in lane.waiting:  # its scheduled time and its tasks are still open
            lane.waiting[source] = request.merge(lane.waiting[source])
            return
        wait_s = again.after_s
        if wait_s is None:
            wait_s = delay_s(failures, first_s=_FIRST_BACKOFF_S, longest_s=self._longest_backoff_s)
        lane.retries[source] = (loop.call_later(wait_s, self.submit, request), request)
