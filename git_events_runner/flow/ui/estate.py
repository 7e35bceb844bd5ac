"""All rows of the page: rebuilt only where an object has changed, and dropped while there are no readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of

from .rows import Declared, RunRow, TriggerRow, declared, run_row, trigger_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Every trigger by its reference, and every run, the latest first; `runs_of` by trigger."""

    triggers: Mapping[Ref, TriggerRow]
    runs: Sequence[RunRow]
    runs_of: Mapping[Ref, Sequence[RunRow]]


@dataclass(slots=True)
class _KeptRun:
    job: Snapshot
    trigger: Snapshot | None
    row: RunRow | None


class Estate:
    """Reads the store in slices of time; readers of one version share one pass."""

    def __init__(self, *, store: Store, version: Callable[[], int]) -> None:
        """`version` rises whenever something in the store has changed."""
        self._store = store
        self._version = version
        self._lock = asyncio.Lock()
        self._rows: tuple[int, Rows] | None = None
        self._declared: dict[str, tuple[Snapshot, Declared]] = {}
        self._runs: dict[str, _KeptRun] = {}

    async def rows(self) -> Rows:
        """The rows as of now."""
        async with self._lock:
            version = self._version()
            if self._rows is None or self._rows[0] != version:
                self._rows = (version, await self._read())
            return self._rows[1]

    def drop(self) -> None:
        """Drop all rows: they had no readers for a while."""
        self._rows = None
        self._declared, self._runs = {}, {}

    async def _read(self) -> Rows:
        slices = Slices()
        found: dict[Ref, list[RunRow]] = {}
        known: set[tuple[Ref, str]] = set()  # by trigger and name of the Job
        kept: dict[str, _KeptRun] = {}
        for job in self._store.all("Job"):
            await slices.rest()
            one = kept[job.uid] = self._run(job)
            if one.row is not None:
                found.setdefault(one.row.trigger, []).append(one.row)
                known.add((one.row.trigger, one.row.job))
        self._runs = kept
        triggers: dict[Ref, TriggerRow] = {}
        objects: dict[str, tuple[Snapshot, Declared]] = {}
        for snapshot in (each for kind in TRIGGERS for each in self._store.all(kind)):
            await slices.rest()
            held = self._declared.get(snapshot.uid)
            if held is None or held[0] is not snapshot:
                held = (snapshot, declared(snapshot))
            objects[snapshot.uid] = held
            runs = found.setdefault(snapshot.ref, [])
            runs += [run for run in held[1].history if (snapshot.ref, run.job) not in known]
            runs.sort(key=_order, reverse=True)
            triggers[snapshot.ref] = trigger_row(held[1], runs)
        self._declared = objects
        await slices.rest()
        every = [run for runs in found.values() for run in runs]
        every.sort(key=_order, reverse=True)
        return Rows(triggers=triggers, runs=every, runs_of=found)

    def _run(self, job: Snapshot) -> _KeptRun:
        """The trigger of a run follows from the Job and from the trigger's status."""
        run = job.model.run
        trigger = self._store.trigger(run.trigger_uid) if run is not None else None
        held = self._runs.get(job.uid)
        if held is not None and held.job is job and held.trigger is trigger and run is not None:
            return held
        owner = owner_of(job, self._store)
        return _KeptRun(job=job, trigger=trigger, row=run_row(job, owner) if owner is not None else None)


def _order(run: RunRow) -> tuple[object, ...]:
    return run.order
