"""One trigger's checks: which sources wait, which are under way, and for which cause another one may begin.

Sources are checked concurrently, a few at a time: one whose server does not respond delays only itself. A check that is
slow makes room for the next one, and sources that failed the last time have a part of the room only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from git_events_runner.rules.check_order import CheckOrder, Rank
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.rules.references import source_of

_SPACING_S = 0.15
_REMEMBERED = 256  # sources whose last start is kept
_QUICK = 4  # checks of one trigger that began a moment ago, or wait for their slot
_UNDER_WAY = 12  # those and the slow ones
_FAILING = 3  # of sources that failed the last time


@dataclass(slots=True)
class Lane:
    """The sources of one trigger, all in its namespace."""

    namespace: str
    waiting: dict[str, CheckRequest] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    failing_since: dict[str, float] = field(default_factory=dict)
    retries: dict[str, tuple[asyncio.TimerHandle, CheckRequest]] = field(default_factory=dict)
    under_way: dict[str, bool] = field(default_factory=dict)  # sources, and whether they failed the last time
    workers: int = 0
    quick: int = 0
    spaced: asyncio.TimerHandle | None = None
    deleted: bool = False
    _started: dict[str, float] = field(default_factory=dict)
    _later: dict[str, float] = field(default_factory=dict)  # sources that were checked a moment ago, and until when
    # Those that may be checked now, in the order of their turns, and whether their check is a scheduled one.
    _ready: dict[Rank, dict[str, bool]] = field(default_factory=lambda: {rank: {} for rank in Rank})
    _open: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})  # ready sources without a worker
    _order: CheckOrder = field(default_factory=CheckOrder)

    def put(self, request: CheckRequest, now: float) -> None:
        """A check waits; it is merged with one that waits or will be retried."""
        source = request.source
        retry = self.retries.pop(source, None)
        if retry:
            retry[0].cancel()
            request = retry[1].merge(request)
        known = self.waiting.get(source)
        self.waiting[source] = known.merge(request) if known else request
        if source not in self.under_way:
            self._place(source, now)

    def enlist(self, now: float) -> bool | None:
        """Count a worker more, for the most urgent check that has none: whether it is a scheduled one; None: no check.

        Which check it does is decided when it has its slot.
        """
        if not self.waiting or self.quick >= _QUICK or self.workers >= _UNDER_WAY:
            return None
        for name in [name for name, at in self._later.items() if at <= now]:
            del self._later[name]
            self._place(name, now)
        scheduled, requested = self._open[True] > 0, self._open[False] > 0
        source = self._next(scheduled, requested) if scheduled or requested else None
        if source is None:
            return None
        scheduled = _is_scheduled(self.waiting[source])
        self._open[scheduled] -= 1
        self.quick += 1
        self.workers += 1
        return scheduled

    def start(self, now: float, *, scheduled: bool) -> CheckRequest | None:
        """A worker has its slot: the request that it works on, None if none is left."""
        self._open[scheduled] += 1
        source = self._next(scheduled, not scheduled)
        if source is None:
            return None
        rank = self._remove(source)
        self._order.started(source, rank, (other for other, queue in self._ready.items() if queue))
        if len(self._started) >= _REMEMBERED:  # most are too long ago to matter; references come and go
            self._started = {name: at for name, at in self._started.items() if now - at < _SPACING_S}
        self._started[source] = now
        self.under_way[source] = rank is Rank.FAILING
        return self.waiting.pop(source)

    def end(self, request: CheckRequest | None, now: float, *, quick: bool) -> None:
        """A worker ended; a check of its source that was requested meanwhile waits from now on."""
        self.workers -= 1
        self.quick -= quick
        if request is not None:
            del self.under_way[request.source]
            if request.source in self.waiting:
                self._place(request.source, now)

    @property
    def idle(self) -> bool:
        """Whether no check waits, is under way, or will be retried."""
        return not (self.workers or self.waiting or self.retries)

    @property
    def next_ready(self) -> float | None:
        """When the first source is ready of those that were checked a moment ago."""
        return min(self._later.values(), default=None)

    def clear(self) -> None:
        """No check waits any more."""
        self.waiting.clear()
        self._later.clear()
        for queue in self._ready.values():
            for scheduled in queue.values():
                self._open[scheduled] -= 1
            queue.clear()
        for timer, _ in self.retries.values():
            timer.cancel()
        self.retries.clear()
        if self.spaced is not None:
            self.spaced.cancel()
            self.spaced = None

    def _place(self, source: str, now: float) -> None:
        """Put a source where it waits; one that is there already keeps its turn."""
        # In a storm, requests that arrive meanwhile share the check.
        at = self._started.get(source, -_SPACING_S) + _SPACING_S
        if at > now:
            self._later[source] = at
            return
        request = self.waiting[source]
        scheduled, rank = _is_scheduled(request), self._rank(request)
        if self._ready[rank].get(source) is scheduled:
            return
        self._remove(source)
        self._ready[rank][source] = scheduled
        self._open[scheduled] += 1

    def _remove(self, source: str) -> Rank:
        """Take a source out of its queue: which one that was."""
        for rank, queue in self._ready.items():
            scheduled = queue.pop(source, None)
            if scheduled is not None:
                self._open[scheduled] -= 1
                return rank
        return Rank.SCHEDULED

    def _next(self, scheduled: bool, requested: bool) -> str | None:  # noqa: FBT001  which causes count
        """The source to check next of those of the given causes."""
        ready: Mapping[Rank, Mapping[str, bool]] = self._ready
        if self.under_way and sum(self.under_way.values()) >= _FAILING:
            ready = {rank: queue for rank, queue in ready.items() if rank is not Rank.FAILING}
        # A list of references checks all of its source.
        busy = set(map(source_of, self.under_way)) if self.under_way else ()

        def fits(source: str, cause: bool) -> bool:  # noqa: FBT001  the value of the mapping
            return (scheduled if cause else requested) and (not busy or source_of(source) not in busy)

        return self._order.next_of(ready, fits)

    def _rank(self, request: CheckRequest) -> Rank:
        """How urgent a check is."""
        if request.source in self.failures:
            return Rank.FAILING
        return Rank.REQUEST if request.tasks or not request.due_at else Rank.SCHEDULED


def _is_scheduled(request: CheckRequest) -> bool:
    """Which slots a check uses."""
    return bool(request.due_at)
