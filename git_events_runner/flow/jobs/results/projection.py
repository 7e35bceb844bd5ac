"""Phases of Jobs and `state` in the statuses of their triggers, written where they changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.resources.job import UNFINISHED_PHASES
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.history import RunState, is_kept, records_of
from git_events_runner.rules.identity import run_of
from git_events_runner.rules.jobs.last_job import RunProgress, shown_phase
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Mutation, Outcome, Progress, rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import CloneReport
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.overtaken import warnings_over

from .phases import LastPhases

log = structlog.get_logger(target="results")

_WRITE_S = 10.0
_BACKOFF_S = (1.0, 15.0)  # when the API server responds again, thousands of statuses are soon correct


class Projection:
    """Shows Jobs, per trigger: a failing status write delays no other trigger."""

    def __init__(
        self, *, store: Store, phases: LastPhases, writer: StatusWriter, now: Callable[[], datetime], weight: Weight
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._store = store
        self._phases = phases
        self._writer = writer
        self._now = now
        self._weight = weight
        self._refused: set[str] = set()  # uids of triggers whose namespace cannot be read
        self._shown: dict[str, object] = {}  # uid → the last status of its Jobs that needed no write

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """Statuses are written while entered."""

        async def show(uid: str) -> bool:
            return await self._show(uid, fence)

        self._shown.clear()
        self._refused.clear()
        self._waiting = Handover(show, weight=self._weight, limit_s=_WRITE_S, backoff_s=_BACKOFF_S)
        async with working(self._waiting):
            yield

    def put(self, trigger: Snapshot) -> None:
        """Show the Jobs of a trigger."""
        self._waiting.put(trigger.ref.namespace, trigger.uid)

    async def put_all(self) -> None:
        """Show the Jobs of all triggers; each is read again in its turn."""
        slices = Slices()
        for kind in TRIGGERS:
            for trigger in self._store.all(kind):
                await slices.rest()
                if (trigger.raw.get("status") or {}).get("checkedSources"):
                    self.put(trigger)

    def put_refused(self) -> None:
        """Show the Jobs of the triggers whose namespace could not be read."""
        refused, self._refused = self._refused, set()
        for uid in refused:
            if (trigger := self._store.trigger(uid)) is not None:
                self.put(trigger)

    def is_shown(self, trigger: Snapshot) -> bool:
        """Whether what a status records of its Jobs was correct at the last read."""
        return self._shown.get(trigger.uid) == _recorded(trigger)

    def prune(self) -> None:
        """Forget triggers that are deleted."""
        self._shown = {uid: recorded for uid, recorded in self._shown.items() if self._store.trigger(uid)}

    async def _show(self, trigger_uid: str, fence: Fence) -> bool:
        """Write phases and `state` of one trigger, if they changed; False: that failed."""
        trigger = self._store.trigger(trigger_uid)
        if trigger is None:
            return True
        if self._store.refused(trigger.ref.namespace, "Job", trigger.ref.kind):
            self._refused.add(trigger_uid)  # its known Jobs are stale, or none
            return True
        status = trigger.raw.get("status") or {}
        alive = [job for job in self._store.unfinished_jobs(trigger_uid) if run_of(job, trigger) is not None]
        phases: dict[str, tuple[str, str]] = {}
        exits: dict[str, tuple[str, int | None]] = {}
        for source in status.get("checkedSources") or {}:
            name = entry_of(status, source).job_name
            if name is None:
                continue
            job = self._job_of(trigger, name)
            if job is not None:
                self._phases.forget(name)
            last = self._phases.get(name)
            phase = job.model.phase if job is not None else last.phase if last is not None else None
            if phase:
                phases[source] = (name, shown_phase(status, source, name, phase))
                exits[source] = (name, job.model.clone_exit if job is not None else None)
        progress = Progress(running=any(not job.model.deleting for job in alive), phases=phases)
        clones = CloneReport(exits=exits, generation=trigger.generation, now=rfc3339(self._now()))
        runs = RunProgress(states=self._states(trigger, status))
        mutations: tuple[Mutation, ...] = (progress, clones, runs, *warnings_over(status, alive))
        self._shown.pop(trigger_uid, None)
        if set(combine(status, mutations)[1]) == {Outcome.DONE}:
            self._shown[trigger_uid] = _recorded(trigger)
            return True
        fence.check()
        try:
            await self._writer.write(trigger.ref, trigger.uid, *mutations)
        except ApiNotFound:
            return True
        except ApiError as error:
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error))
            return False
        return True

    def _job_of(self, trigger: Snapshot, name: str) -> Snapshot | None:
        """The Job of that name, if it is a run of the trigger."""
        found = self._store.get(Ref("Job", trigger.ref.namespace, name))
        return found if found is not None and run_of(found, trigger) is not None else None

    def _states(self, trigger: Snapshot, status: Mapping[str, Any]) -> dict[str, RunState]:
        """The known Jobs in the history; for Jobs that ended long ago the history is the only record."""
        states: dict[str, RunState] = {}
        for record in records_of(status):
            name, recorded = str(record.get("job")), record.get("phase")
            job = self._job_of(trigger, name)
            if job is not None and not is_kept(recorded, job.model):
                states[name] = RunState.of(job.model)
            elif job is None and recorded in UNFINISHED_PHASES and (last := self._phases.get(name)) is not None:
                states[name] = last
        return states


def _last_jobs(trigger: Snapshot) -> dict[str, Any]:
    """`lastJob` of each source, as the status has it."""
    entries = (trigger.raw.get("status") or {}).get("checkedSources")
    found = entries.items() if isinstance(entries, dict) else ()
    return {name: entry.get("lastJob") for name, entry in found if isinstance(entry, dict)}


def _recorded(trigger: Snapshot) -> tuple[object, ...]:
    """All fields of a trigger that `show` reads; the rest of its status changes with each delivery."""
    status = trigger.raw.get("status") or {}
    history = [(record.get("job"), record.get("phase")) for record in records_of(status)]
    shown = (status.get(name) for name in ("state", "conditions", "warnings"))
    return (trigger.generation, _last_jobs(trigger), *shown, history)
