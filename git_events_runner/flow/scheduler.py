"""The leader's clock: submits a check of each (trigger with a schedule, source) at its scheduled time.

A schedule is read again when its trigger's generation changes: live edits and deletions take effect immediately, and an
edited schedule has no scheduled times before the edit. Times missed while no replica was the leader are handled once
afterwards, by the record of each source (`rules/schedule/schedule`). Scheduled times and triggers to be read are taken
by namespace in turn, a slice of time each: one tenant's changes and scheduled times delay no other tenant.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from git_events_runner.concurrency.fairness import RoundRobin, Weight
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.flow.ports import PolicyGate
from git_events_runner.resources.kinds import SOURCES, TRIGGERS
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.jobs.clone import phase_key
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.ledger.stored_times import stored_time
from git_events_runner.rules.messages import CheckRequest, Fence
from git_events_runner.rules.naming import Naming
from git_events_runner.rules.schedule.schedule import Schedule, due

log = structlog.get_logger(target="scheduler")

_LONGEST_SLEEP_S = 5.0  # the wall clock may be set
_TOGETHER = timedelta(milliseconds=40)  # scheduled times as near as that cost one wake: it takes as long as a check
_EARLY_S = 0.001  # timers of the loop may be this early, and would be set twice for each scheduled time
_SET_BACK = timedelta(hours=1)  # a clock that is set back by less repeats nothing
_HEAP_LEAST = 64
_LATE = timedelta(seconds=1)  # no two scheduled times are nearer


_Written = tuple[str | None, str | None] | None  # interval and cron of a spec; None: it has no schedule


@dataclass(slots=True)
class _Watch:
    """One source of one trigger: its schedule, as written and as read, its phase, and the time submitted last."""

    trigger: Ref
    uid: str
    source: str
    schedule: Schedule
    written: _Written
    phase: str
    answered: datetime | None
    at: datetime | None = None
    serial: int = 0


class Scheduler:
    """Owns the scheduled times while this replica is the leader."""

    def __init__(
        self,
        *,
        store: Store,
        gate: PolicyGate,
        submit: Callable[[CheckRequest], None],
        forget: Callable[[str], None],
        edited: Callable[[Ref, str, str, datetime, Fence], None],
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`edited` records (trigger, uid, source, time) that a schedule was edited; `weight` is that of a namespace."""
        self._store = store
        self._gate = gate
        self._submit = submit
        self._forget = forget
        self._edited = edited
        self._now = now
        self._watches: dict[Ref, dict[str, _Watch]] = {}
        self._naming = Naming()
        self._heap: list[tuple[datetime, int, Ref, str]] = []
        self._most_planned = _HEAP_LEAST  # then stale ones are dropped
        self._serial = 0
        self._latest: datetime | None = None
        self._weight = weight
        self._due: RoundRobin[tuple[int, Ref, str]] = RoundRobin(weight=weight)
        self._changed: RoundRobin[Ref] = RoundRobin(weight=weight)
        self._unread: set[Ref] = set()
        self._first: set[Ref] = set()
        self._set_back: set[Ref] = set()  # to be planned again
        self._written: dict[Ref, tuple[str, _Written]] = {}  # uid and schedule, as read last
        self._edits: dict[Ref, tuple[str, datetime]] = {}  # uid and time of the last edit while it was suspended

    async def run_as_leader(self, fence: Fence) -> None:
        """Submit checks at their scheduled times until leadership ends."""
        with self._store.subscribe(declared=(*TRIGGERS, *SOURCES)) as changes:
            minimum_s = self._gate.policy.minimum_interval_s
            await self._start()
            while True:
                if minimum_s != self._gate.policy.minimum_interval_s:
                    minimum_s = self._gate.policy.minimum_interval_s
                    await self._note_all(trigger.ref for kind in TRIGGERS for trigger in self._store.all(kind))
                await self._follow_clock()
                if self._work(fence):
                    await asyncio.sleep(0)  # the rest of the program can run
                else:
                    await changes.wait_for(self._sleep_s())
                if changed := changes.drain():
                    await self._apply(changed)

    def _sleep_s(self) -> float:
        """How long nothing is to be done, unless something changes."""
        if not self._heap:
            return _LONGEST_SLEEP_S
        first = self._heap[0][0]
        together = any(second[0] - first <= _TOGETHER for second in self._heap[1:3])  # the two that may come next
        until = first + _TOGETHER if together else first
        return min((until - self._now()).total_seconds() + _EARLY_S, _LONGEST_SLEEP_S)

    async def _start(self) -> None:
        """Plan to read all triggers, as none is known yet. Those that arrive meanwhile are changes."""
        self._watches.clear()
        self._written.clear()
        self._edits.clear()
        self._naming.clear()
        self._heap.clear()
        self._unread.clear()
        self._set_back.clear()
        self._due, self._changed = RoundRobin(weight=self._weight), RoundRobin(weight=self._weight)
        self._first = set()
        await self._note_all((trigger.ref for kind in TRIGGERS for trigger in self._store.all(kind)), also=self._first)

    async def _apply(self, changed: set[Ref]) -> None:
        sources = {ref for ref in changed if ref.kind in SOURCES}
        await self._note_all(changed - sources)
        await self._note_all(self._naming.of(sources))

    async def _note_all(self, triggers: Iterable[Ref], *, also: set[Ref] | None = None) -> None:
        """Queue these for reading, in their namespace's turn; `also` gets them, too."""
        slices = Slices()
        for ref in triggers:
            if also is not None:
                also.add(ref)
            if ref not in self._unread:
                self._unread.add(ref)
                self._changed.put(ref.namespace or "", ref)
            await slices.rest()

    async def _follow_clock(self) -> None:
        """The clock was far ahead and is correct now: its times are planned again, in turn."""
        now, latest = self._now(), self._latest
        self._latest = now
        if latest is None or latest - now <= _SET_BACK:
            self._latest = max(now, latest or now)
            return
        log.warning("clock.reset", seconds=round((latest - now).total_seconds()))
        await self._note_all(list(self._watches), also=self._set_back)

    def _work(self, fence: Fence) -> bool:
        """Submit scheduled checks and read changes, for a slice of time; whether something is left."""
        now, slices = self._now(), Slices()
        while self._heap and self._heap[0][0] <= now:
            if slices.over:
                return True
            _, serial, ref, source = heapq.heappop(self._heap)
            self._due.put(ref.namespace or "", (serial, ref, source))
        while not slices.over:
            if due := self._due.pop():
                self._submit_one(fence, *due[1])
            changed = self._changed.pop()
            if changed is not None:
                self._read_one(changed[1], fence)
            elif due is None:
                return bool(self._heap and self._heap[0][0] <= self._now())
        return True

    def _read_one(self, ref: Ref, fence: Fence) -> None:
        self._unread.discard(ref)
        first = ref in self._first
        self._first.discard(ref)
        trigger = self._store.get(ref)
        if trigger is None:
            self._written.pop(ref, None)
            self._edits.pop(ref, None)
            for watch in self._watches.pop(ref, {}).values():
                self._forget(watch.uid)
            self._naming.drop(ref)
        else:
            self._read(trigger, fence, first=first)
        if ref in self._set_back:
            self._set_back.discard(ref)
            self._come_back(ref)

    def _read(self, trigger: Snapshot, fence: Fence, *, first: bool) -> None:
        """Load the trigger's spec; an unchanged schedule keeps its scheduled time."""
        known = self._watches.pop(trigger.ref, {})
        written: _Written = None
        if trigger.model is not None and trigger.model.spec.schedule is not None:
            written = (trigger.model.spec.schedule.interval, trigger.model.spec.schedule.cron)
        before = self._written.get(trigger.ref)
        self._written[trigger.ref] = (trigger.uid, written)
        edited = before is not None and before[0] == trigger.uid and before[1] != written
        if edited:
            self._submit_missed(known.values(), fence)
        if written is None or trigger.model.spec.suspend:  # missed times are handled once, as after a stop
            self._naming.drop(trigger.ref)
            self._note_edit(trigger, fence, edited=edited and written is not None)
            return
        spec, namespace = trigger.model.spec, trigger.ref.namespace
        uid, edited_at = self._edits.pop(trigger.ref, ("", None))
        schedule = self._gate.schedule_of(namespace or "", *written)
        if isinstance(schedule, Problem):
            log.warning("trigger.rejected", namespace=namespace, name=trigger.ref.name, error=schedule.message)
            self._naming.drop(trigger.ref)
            return
        self._naming.put(trigger.ref, [named(spec.sources.kind, namespace, name) for name in spec.sources.names])
        watches = self._watches[trigger.ref] = {}
        status = trigger.raw.get("status") or {}
        for name in spec.sources.names:
            phase = self._phase(spec, trigger.ref, name)
            old = known.get(name)
            if old and (old.uid, old.written, old.phase) == (trigger.uid, written, phase):
                watches[name] = old
                continue
            entry = entry_of(status, name)
            now = self._now()
            times = [stored_time(entry.answered_at, now) or stored_time(entry.changed, now)]
            if entry.adopted:
                times.append(stored_time(status.get("lastRun"), now))
            if old and old.uid == trigger.uid:
                times.append(old.answered)
            times.append(edited_at if entry.exists and uid == trigger.uid else None)
            if edited and (entry.exists or old):
                times.append(now)
                self._edited(trigger.ref, trigger.uid, name, now, fence)
            watches[name] = _Watch(
                trigger=trigger.ref,
                uid=trigger.uid,
                source=name,
                schedule=schedule,
                written=written,
                phase=phase,
                answered=max((moment for moment in times if moment is not None), default=None),
            )
            self._plan(watches[name], catching_up=first, each_runs=not spec.sources.watch_on.on_change_only)

    def _note_edit(self, trigger: Snapshot, fence: Fence, *, edited: bool) -> None:
        """Record an edited schedule of a suspended trigger: its times before now are not missed ones."""
        if not edited:
            return
        now, status = self._now(), trigger.raw.get("status") or {}
        self._edits[trigger.ref] = (trigger.uid, now)
        for name in trigger.model.spec.sources.names:
            if entry_of(status, name).exists:
                self._edited(trigger.ref, trigger.uid, name, now, fence)

    def _come_back(self, ref: Ref) -> None:
        """The clock was set back: no time after now is handled, and the next one is planned by the current clock."""
        now = self._now()
        for watch in self._watches.get(ref, {}).values():
            if watch.answered is not None and watch.answered > now:
                watch.answered = now
            self._plan(watch, catching_up=False)

    def _submit_missed(self, watches: Iterable[_Watch], fence: Fence) -> None:
        """Submit the passed times of a replaced schedule that are not handled yet."""
        for watch in watches:
            if watch.at is not None and watch.at <= self._now():
                self._submit_now(watch, fence)

    def _phase(self, spec: Any, trigger: Ref, name: str) -> str:
        found = self._store.get(named(spec.sources.kind, trigger.namespace, name))
        return phase_key(found.model, trigger.namespace or "") if found and found.model else name

    def _plan(self, watch: _Watch, *, catching_up: bool, each_runs: bool = False) -> None:
        """Put the next scheduled time on the heap; one that passed unhandled is submitted immediately.

        Args:
            watch: The source.
            catching_up: Leadership begins: missed times are spread, or left to a near scheduled time.
            each_runs: Every check runs, so that none is skipped.
        """
        self._serial += 1
        watch.serial = self._serial
        watch.at = None
        try:
            planned = due(
                watch.schedule,
                phase_key=watch.phase,
                now=self._now(),
                answered_at=watch.answered,
                spread_key=watch.uid if catching_up else None,
                each_runs=each_runs,
            )
        except Exception:  # a bug in the handling of one trigger must not end the others
            log.exception("trigger.crashed", namespace=watch.trigger.namespace, name=watch.trigger.name)
            return
        watch.at = planned.due_at
        if planned.submit_at is not None:
            heapq.heappush(self._heap, (planned.submit_at, watch.serial, watch.trigger, watch.source))
            if len(self._heap) > self._most_planned:
                self._drop_stale()

    def _drop_stale(self) -> None:
        """Keep only current times on the heap: edits and deletions leave their former times there."""
        self._heap = [entry for entry in self._heap if self._is_planned(*entry[1:])]
        heapq.heapify(self._heap)
        self._most_planned = _HEAP_LEAST + 2 * len(self._heap)

    def _is_planned(self, serial: int, ref: Ref, source: str) -> bool:
        watch = self._watches.get(ref, {}).get(source)
        return watch is not None and watch.serial == serial

    def _submit_one(self, fence: Fence, serial: int, ref: Ref, source: str) -> None:
        watch = self._watches.get(ref, {}).get(source)
        if watch is None or watch.serial != serial or watch.at is None or ref in self._set_back:
            return
        if self._now() - watch.at >= _LATE:  # missed, or the clock was set: the last of several times
            self._plan(watch, catching_up=False)
            if watch.at is None or watch.at > self._now():
                return
        self._submit_now(watch, fence)
        self._plan(watch, catching_up=False)

    def _submit_now(self, watch: _Watch, fence: Fence) -> None:
        if watch.at is not None:
            watch.answered = watch.at
            self._submit(
                CheckRequest(
                    trigger=watch.trigger,
                    uid=watch.uid,
                    source=watch.source,
                    due_at=rfc3339(watch.at),
                    scheduled=watch.at,
                    polls=True,
                    fence=fence,
                )
            )
