"""Repeats checks at a given time: changes that wait for a window, for a quiet time or for a time between runs.

Statuses record what waits: open requests, unhandled scheduled times, and the values of `rules/waits`.
So nothing is lost with the process. A new leader finds the requests by its sweep and the scheduled times by its
scheduler, and submits their checks here again. Other replicas keep only short waits, and leave the others to the
leader. When the spec of a trigger, or the installation's windows, change, its checks are repeated immediately.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from git_events_runner.edges.kube.store import Store
from git_events_runner.flow.ports import PolicyGate
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.telemetry.metrics import Metrics

SHORT_S = 30.0
_LONGEST_SLEEP_S = 5.0  # the wall clock may be set
_HEAP_LEAST = 64

_Key = tuple[str, str]  # the trigger's uid, a source


@dataclass(slots=True)
class _Wait:
    request: CheckRequest
    until: datetime
    reason: CheckResult
    serial: int


class Waits:
    """Submits each check that waits at its time."""

    def __init__(
        self,
        *,
        store: Store,
        gate: PolicyGate,
        submit: Callable[[CheckRequest], None],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._gate = gate
        self._submit = submit
        self._metrics = metrics
        self._now = now
        self._waits: dict[_Key, _Wait] = {}
        self._heap: list[tuple[datetime, int, _Key]] = []
        self._serial = 0
        self._most = _HEAP_LEAST  # then stale ones are dropped
        self._counts: Counter[CheckResult] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._policy = gate.policy

    def begin(self) -> None:
        """This replica becomes the leader: the fence would refuse checks from an earlier leadership."""
        for key in [key for key, wait in self._waits.items() if wait.request.fence is not None]:
            self._remove(key)

    def put(self, request: CheckRequest, until: datetime, reason: CheckResult) -> None:
        """Repeat that check at a time, together with waiting checks of that source."""
        key = (request.uid, request.source)
        known = self._waits.get(key)
        if known is None and request.fence is None and (until - self._now()).total_seconds() > SHORT_S:
            return  # the leader's sweep takes it over
        self._remove(key)
        self._serial += 1
        merged = known.request.merge(request) if known else request
        self._waits[key] = _Wait(replace(merged, retry=True), until, reason, self._serial)
        self._count(reason, 1)
        heapq.heappush(self._heap, (until, self._serial, key))
        if len(self._heap) > self._most:
            self._drop_stale()
        if self._heap[0][1] == self._serial:
            self._arm()

    def end(self, request: CheckRequest) -> None:
        """A check of that source does not wait, nor do its waiting requests; a scheduled time has its own check."""
        key = (request.uid, request.source)
        known = self._waits.get(key)
        if known is not None and known.request.due_at is None:
            self._remove(key)

    def pending(self, uid: str, source: str) -> bool:
        """Whether a check of that source waits here."""
        return (uid, source) in self._waits

    def forget(self, uid: str) -> None:
        """The trigger is deleted."""
        for key in [key for key in self._waits if key[0] == uid]:
            self._remove(key)

    def together_with(
        self, *, pending: Callable[[str, str], bool], forget: Callable[[str], None]
    ) -> tuple[Callable[[str, str], bool], Callable[[str], None]]:
        """`pending` and `forget` of the checks that wait here and of those that are done now (by these functions)."""

        def any_pending(uid: str, source: str) -> bool:
            return pending(uid, source) or self.pending(uid, source)

        def forget_all(uid: str) -> None:
            forget(uid)
            self.forget(uid)

        return any_pending, forget_all

    async def run(self) -> None:
        """Follow changes of specs until cancelled."""
        with self._store.subscribe(declared=TRIGGERS) as changes:
            while True:
                await changes.wait()
                changed = changes.drain()
                if self._waits:
                    self._submit_all({known.uid for ref in changed if (known := self._store.get(ref))})

    def _arm(self) -> None:
        """One timer, for the first of the times; it reads the clock at intervals, because the clock may be set."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            delay_s = min((self._heap[0][0] - self._now()).total_seconds(), _LONGEST_SLEEP_S)
            self._timer = asyncio.get_running_loop().call_later(max(delay_s, 0.0), self._submit_due)

    def _submit_due(self) -> None:
        now, policy = self._now(), self._gate.policy
        if policy != self._policy:
            self._policy = policy
            self._submit_all({uid for uid, _ in self._waits})
        while self._heap and self._heap[0][0] <= now:
            _, serial, key = heapq.heappop(self._heap)
            wait = self._waits.get(key)
            if wait is not None and wait.serial == serial:
                self._release(key)
        self._timer = None
        self._arm()

    def _submit_all(self, uids: set[str]) -> None:
        """Repeat the checks of these triggers: another spec may allow them."""
        for key in [key for key in self._waits if key[0] in uids]:
            self._release(key)

    def _release(self, key: _Key) -> None:
        wait = self._waits[key]
        self._remove(key)
        self._submit(wait.request)

    def _remove(self, key: _Key) -> None:
        wait = self._waits.pop(key, None)
        if wait is not None:
            self._count(wait.reason, -1)

    def _count(self, reason: CheckResult, by: int) -> None:
        self._counts[reason] += by
        self._metrics.changes_waiting(reason.value, self._counts[reason])

    def _drop_stale(self) -> None:
        kept = {wait.serial for wait in self._waits.values()}
        self._heap = [entry for entry in self._heap if entry[1] in kept]
        heapq.heapify(self._heap)
        self._most = _HEAP_LEAST + 2 * len(self._heap)
