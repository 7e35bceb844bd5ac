"""The leader's clock: submits a check of each (trigger with a schedule, source) when it falls due.

A schedule is read again when its trigger's generation changes: live edits and deletions take effect at once. What was
due while nobody led is made up once (`rules/schedule`).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import InvalidObject
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.kinds import SOURCES, TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.clone import phase_key
from git_events_runner.rules.ledger import entry_of, rfc3339
from git_events_runner.rules.messages import CheckRequest, Fence
from git_events_runner.rules.schedule import Schedule, due, parse_schedule

log = structlog.get_logger(target="scheduler")

_LONGEST_SLEEP_S = 5.0  # the wall clock may be set


@dataclass(slots=True)
class _Watch:
    """One source of one trigger: its schedule, phase, and the due time submitted last."""

    trigger: Ref
    uid: str
    source: str
    schedule: Schedule
    phase: str
    generation: int
    answered: datetime | None
    at: datetime | None = None
    serial: int = 0


class Gate(Protocol):
    """The installation's policy."""

    @property
    def policy(self) -> object:
        """The policy of now."""

    def too_often(self, schedule: Schedule) -> InvalidObject | None:
        """What is wrong with a schedule that comes due more often than allowed."""


class Scheduler:
    """Owns the due times while this replica leads."""

    def __init__(
        self,
        *,
        store: Store,
        gate: Gate,
        submit: Callable[[CheckRequest], None],
        forget: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._gate = gate
        self._submit = submit
        self._forget = forget
        self._now = now
        self._watches: dict[Ref, dict[str, _Watch]] = {}
        self._heap: list[tuple[datetime, int, Ref, str]] = []
        self._serial = 0

    async def run_leading(self, fence: Fence) -> None:
        """Submit what falls due until leadership ends."""
        self._watches.clear()
        self._heap.clear()
        with self._store.subscribe(*TRIGGERS, *SOURCES) as changes:
            policy = self._gate.policy
            for kind in TRIGGERS:
                for trigger in self._store.all(kind):
                    self._read(trigger, first=True)
            while True:
                if policy != self._gate.policy:
                    policy = self._gate.policy
                    for kind in TRIGGERS:
                        for trigger in self._store.all(kind):
                            self._read(trigger, first=False)
                self._submit_due(fence)
                sleep_s = _LONGEST_SLEEP_S
                if self._heap:
                    sleep_s = min((self._heap[0][0] - self._now()).total_seconds(), sleep_s)
                try:
                    async with asyncio.timeout(max(sleep_s, 0)):
                        await changes.wait()
                except TimeoutError:
                    continue
                self._apply(changes.take())

    def _apply(self, changed: set[Ref]) -> None:
        sources = {ref for ref in changed if ref.kind in SOURCES}
        for ref in changed - sources:
            trigger = self._store.get(ref)
            if trigger is None:
                for watch in self._watches.pop(ref, {}).values():
                    self._forget(watch.uid)
            else:
                self._read(trigger, first=False)
        if sources:
            for ref in list(self._watches):
                trigger = self._store.get(ref)
                if trigger is not None and trigger.model is not None:
                    self._read(trigger, first=False)

    def _read(self, trigger: Snapshot, *, first: bool) -> None:
        """Take over the trigger's spec; what has not changed keeps its due time."""
        known = self._watches.get(trigger.ref, {})
        if trigger.model is None or trigger.model.spec.schedule is None:
            self._watches.pop(trigger.ref, None)
            return
        spec = trigger.model.spec
        try:
            schedule = parse_schedule(spec.schedule.interval, spec.schedule.cron)
            often = self._gate.too_often(schedule)
            if often is not None:
                raise often
        except InvalidObject as error:
            log.warning("trigger.rejected", namespace=trigger.ref.namespace, name=trigger.ref.name, error=str(error))
            self._watches.pop(trigger.ref, None)
            return
        watches: dict[str, _Watch] = {}
        for name in spec.sources.names:
            phase = self._phase(spec, trigger.ref, name)
            old = known.get(name)
            if old and (old.uid, old.generation, old.phase) == (trigger.uid, trigger.generation, phase):
                watches[name] = old
                continue
            status = trigger.raw.get("status") or {}
            answered = timestamp(entry_of(status, name).answered_at)
            if old and old.uid == trigger.uid and old.answered and (answered is None or old.answered > answered):
                answered = old.answered
            watch = _Watch(
                trigger=trigger.ref,
                uid=trigger.uid,
                source=name,
                schedule=schedule,
                phase=phase,
                generation=trigger.generation,
                answered=answered,
            )
            watches[name] = watch
            last_run = timestamp(status.get("lastRun")) if entry_of(status, name).exists else None
            self._plan(watch, last_run, catching_up=first)
        self._watches[trigger.ref] = watches

    def _phase(self, spec: Any, trigger: Ref, name: str) -> str:
        cluster = spec.sources.kind.startswith("Cluster")
        found = self._store.get(Ref(spec.sources.kind, None if cluster else trigger.namespace, name))
        return phase_key(found.model, trigger.namespace or "") if found and found.model else name

    def _plan(self, watch: _Watch, last_run: datetime | None, *, catching_up: bool) -> None:
        """Put the next due time on the heap; one that passed unanswered is due at once."""
        self._serial += 1
        watch.serial = self._serial
        watch.at = None
        try:
            planned = due(
                watch.schedule,
                phase_key=watch.phase,
                now=self._now(),
                answered_at=watch.answered,
                last_run=last_run,
                spread_key=watch.uid if catching_up else None,
            )
        except Exception:  # the border of one trigger: a bug in it must not end the others
            log.exception("trigger.crashed", namespace=watch.trigger.namespace, name=watch.trigger.name)
            return
        watch.at = planned.due_at
        if planned.submit_at is not None:
            heapq.heappush(self._heap, (planned.submit_at, watch.serial, watch.trigger, watch.source))

    def _submit_due(self, fence: Fence) -> None:
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            _, serial, ref, source = heapq.heappop(self._heap)
            watch = self._watches.get(ref, {}).get(source)
            if watch is None or watch.serial != serial or watch.at is None:
                continue
            watch.answered = watch.at
            self._submit(CheckRequest(trigger=ref, uid=watch.uid, source=source, due_at=rfc3339(watch.at), fence=fence))
            self._plan(watch, now, catching_up=False)
