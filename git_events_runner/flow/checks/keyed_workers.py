"""Lanes: one check at a time per trigger; requests that arrive meanwhile are merged, failures are retried later.

Nothing queued here can be lost: the status records requests, the schedule gives scheduled times.
Namespaces share the slots of checks by weighted round-robin, and a check that waits for its git server soon has none
(docs/decisions/0014-slots-by-namespace.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from git_events_runner.concurrency.fairness import RoundRobin, Shares, Weight
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.rules.check_order import CheckOrder, Rank
from git_events_runner.rules.messages import CheckRequest, Requeue

_SPACING_S = 0.15
_FIRST_BACKOFF_S = 1.0
_QUICK_S = 0.2  # a check that takes longer waits for a server, not for this process
_SPREAD = 8  # checks under way in all namespaces, per check that one namespace may have


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
    order: CheckOrder = field(default_factory=CheckOrder)

    def next_source(self, now: float, *, due: bool | None = None) -> str | None:
        """The source to check next (`due`: of those that wait for a slot of that cause); None: all have to wait."""
        ranks = {
            source: self.rank(request)
            for source, request in self.waiting.items()
            if self.ready_at(source) <= now and (due is None or bool(request.due_at) is due)
        }
        return self.order.next_of(ranks)

    def rank(self, request: CheckRequest) -> Rank:
        """How urgent a check is."""
        if request.source in self.failures:
            return Rank.FAILING
        return Rank.REQUEST if request.tasks or not request.due_at else Rank.SCHEDULED

    def ready_at(self, source: str) -> float:
        """When a source may be checked again: in a storm, requests that arrive meanwhile share the check."""
        return self.started.get(source, -_SPACING_S) + _SPACING_S


class _Slot:
    """One check's slot, for `async with`."""

    __slots__ = ("_namespace", "_quick", "_slots")

    def __init__(self, slots: _Slots, namespace: str) -> None:
        self._slots = slots
        self._namespace = namespace
        self._quick: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._slots.admitted(self._namespace)
        self._quick = asyncio.get_running_loop().call_later(_QUICK_S, self._hand_back)

    async def __aexit__(self, *_: object) -> None:
        quick, self._quick = self._quick, None
        if quick is not None:
            quick.cancel()
        self._slots.end(self._namespace, quick=quick is not None)

    def _hand_back(self) -> None:
        self._quick = None
        self._slots.hand_back()


class _Slots:
    """The slots of one cause: `parallelism` in all namespaces for recent checks, and in each namespace for all.

    So a namespace with slow servers has at most its maximum of checks under way, and delays those of other namespaces
    by a moment at most. All namespaces together have at most eight times as many, with a share always free (`Shares`).
    """

    def __init__(self, parallelism: int, weight: Weight) -> None:
        self._quick = parallelism
        self._shares = Shares(total=parallelism * _SPREAD, each=parallelism, weight=weight)
        self._waiting: RoundRobin[asyncio.Future[None]] = RoundRobin(weight=weight)

    def slot(self, namespace: str) -> _Slot:
        """A slot for one check; entered when it is the turn of its namespace."""
        return _Slot(self, namespace)

    async def admitted(self, namespace: str) -> None:
        """Return when a check of the namespace may begin."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(namespace, admitted)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self.end(namespace, quick=True)
            raise

    def end(self, namespace: str, *, quick: bool) -> None:
        """A check ended; `quick`: it still held its first slot."""
        self._quick += quick
        self._shares.give_back(namespace)
        self._admit()

    def hand_back(self) -> None:
        """A check is slow: another may begin."""
        self._quick += 1
        self._admit()

    def _admit(self) -> None:
        while self._quick and (taken := self._waiting.take(self._shares.may_take)):
            namespace, admitted = taken
            if not admitted.done():
                self._quick -= 1
                self._shares.take(namespace)
                admitted.set_result(None)


class KeyedWorkers:
    """Runs `check` for each request, those of a trigger in sequence, concurrently within the slots of its cause."""

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
        self._due = _Slots(schedule_parallelism, weight)
        self._called = _Slots(webhook_parallelism, weight)
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
        """Request a check; merges with one that waits or will be retried. Ignored while draining."""
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
        """Start no check while held (the CRDs would drop written fields)."""
        if held:
            self._open.clear()
        else:
            self._open.set()

    def forget(self, uid: str) -> None:
        """The trigger is deleted: none of its checks waits any more."""
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
        """Accept no new checks and return when those under way have ended."""
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
            if not lane.waiting:  # deleted, or dropped while draining, while checks were held
                break
            source = lane.next_source(loop.time())
            if source is None:
                await asyncio.sleep(min(map(lane.ready_at, lane.waiting)) - loop.time())
                continue
            waiting = lane.waiting[source]
            due = bool(waiting.due_at)
            async with (self._due if due else self._called).slot(waiting.trigger.namespace or ""):
                if not self._open.is_set():
                    continue  # held while it waited for its slot
                source = lane.next_source(loop.time(), due=due)
                if source is None:
                    continue
                request = lane.waiting.pop(source)
                lane.order.started(source, lane.rank(request), map(lane.rank, lane.waiting.values()))
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

    def _later(self, lane: _Lane, request: CheckRequest, again: Requeue, loop: asyncio.AbstractEventLoop) -> None:
        source = request.source
        failures, expired = 0, False
        if again.failed:
            failures = lane.failures[source] = lane.failures.get(source, 0) + 1
            since = lane.failing_since.setdefault(source, loop.time())
            expired = again.limit_s is not None and loop.time() - since > again.limit_s
        if not again.failed or expired:
            lane.failures.pop(source, None)
            lane.failing_since.pop(source, None)
        if self._closing or lane.gone or expired:
            return
        request = replace(request, retry=True)
        if source in lane.waiting:  # its scheduled time and its tasks are still open
            lane.waiting[source] = request.merge(lane.waiting[source])
            return
        wait_s = again.after_s
        if wait_s is None:
            wait_s = delay_s(failures, first_s=_FIRST_BACKOFF_S, longest_s=self._longest_backoff_s)
        lane.retries[source] = (loop.call_later(wait_s, self.submit, request), request)


def _clear(lane: _Lane) -> None:
    lane.waiting.clear()
    for timer, _ in lane.retries.values():
        timer.cancel()
    lane.retries.clear()
