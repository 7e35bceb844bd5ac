"""Lanes: one check at a time for each trigger, requests that arrive meanwhile merged, failures tried again later.

Nothing is queued here that could be lost: requests are counted in the status, due times come from the schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from git_events_runner.rules.messages import Again, CheckRequest

_SPACING_S = 0.15
_FIRST_BACKOFF_S = 1.0


@dataclass(slots=True)
class _Lane:
    waiting: dict[str, CheckRequest] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    failing_since: dict[str, float] = field(default_factory=dict)
    retries: dict[str, tuple[asyncio.TimerHandle, CheckRequest]] = field(default_factory=dict)
    looking_at: str | None = None
    working: bool = False
    gone: bool = False


class Lanes:
    """Runs `check` for each request, a trigger's one after another, at most `parallelism` at once for each cause."""

    def __init__(
        self,
        *,
        check: Callable[[CheckRequest], Awaitable[Again | None]],
        schedule_parallelism: int,
        webhook_parallelism: int,
        longest_backoff_s: float,
    ) -> None:
        self._check = check
        self._due = asyncio.Semaphore(schedule_parallelism)
        self._called = asyncio.Semaphore(webhook_parallelism)
        self._longest_backoff_s = longest_backoff_s
        self._lanes: dict[str, _Lane] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._working = 0
        self._closing = False
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    def submit(self, request: CheckRequest) -> None:
        """Ask for a check; merges with one that waits, or is to be tried again. While draining it is left to others."""
        if self._closing:
            return
        lane = self._lanes.setdefault(request.uid, _Lane())
        retry = lane.retries.pop(request.source, None)
        if retry:
            retry[0].cancel()
            request = retry[1].merge(request)
        known = lane.waiting.get(request.source)
        lane.waiting[request.source] = known.merge(request) if known else request
        if not lane.working:
            lane.working = True
            self._working += 1
            self._empty.clear()
            self._ready.put_nowait(request.uid)

    def hold(self, *, held: bool) -> None:
        """Start no check while held (the CRDs would drop what is written)."""
        if held:
            self._open.clear()
        else:
            self._open.set()

    def forget(self, uid: str) -> None:
        """The trigger is gone: nothing of it waits any more."""
        lane = self._lanes.get(uid)
        if lane:
            _clear(lane)
            lane.gone = True
            if not lane.working:
                del self._lanes[uid]

    def pending(self, uid: str, source: str | None = None) -> bool:
        """Whether a check of that trigger (of one source of it) is under way or waits (also for its back-off)."""
        lane = self._lanes.get(uid)
        if lane is None or source is None:
            return bool(lane and (lane.working or lane.retries))
        return source == lane.looking_at or source in lane.waiting or source in lane.retries

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                uid = await self._ready.get()
                group.create_task(self._work(uid))

    async def drain(self) -> None:
        """Take nothing new and return when what is under way has ended."""
        self._closing = True
        self._open.set()
        for lane in self._lanes.values():
            _clear(lane)
        await self._empty.wait()

    async def _work(self, uid: str) -> None:
        lane = self._lanes[uid]
        loop = asyncio.get_running_loop()
        while lane.waiting:
            await self._open.wait()
            source = next(iter(lane.waiting), None)
            if source is None:  # gone, or left to others, while checks were held
                break
            wait_s = lane.started.get(source, -_SPACING_S) + _SPACING_S - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)  # a storm: what arrives meanwhile shares the check
                if source not in lane.waiting:
                    continue
            async with self._due if lane.waiting[source].due_at else self._called:
                request = lane.waiting.pop(source, None)
                if request is None:
                    continue
                lane.started[source] = loop.time()
                lane.looking_at = source
                again = await self._check(request)
                lane.looking_at = None
            if again is None:
                lane.failures.pop(source, None)
                lane.failing_since.pop(source, None)
            else:
                self._later(lane, request, again, loop)
        lane.working = False
        self._working -= 1
        if lane.gone:
            self._lanes.pop(uid, None)
        if not self._working:
            self._empty.set()

    def _later(self, lane: _Lane, request: CheckRequest, again: Again, loop: asyncio.AbstractEventLoop) -> None:
        source = request.source
        failures = lane.failures[source] = lane.failures.get(source, 0) + 1
        since = lane.failing_since.setdefault(source, loop.time())
        expired = again.limit_s is not None and loop.time() - since > again.limit_s
        if expired:
            lane.failures.pop(source, None)
            lane.failing_since.pop(source, None)
        if self._closing or lane.gone or expired:
            return
        request = replace(request, retry=True)
        if source in lane.waiting:  # its due time and its tasks are not answered yet
            lane.waiting[source] = request.merge(lane.waiting[source])
            return
        backoff_s = min(_FIRST_BACKOFF_S * 2 ** min(failures - 1, 10), self._longest_backoff_s)
        delay_s = backoff_s if again.after_s is None else again.after_s
        lane.retries[source] = (loop.call_later(delay_s, self.submit, request), request)


def _clear(lane: _Lane) -> None:
    lane.waiting.clear()
    for timer, _ in lane.retries.values():
        timer.cancel()
    lane.retries.clear()
