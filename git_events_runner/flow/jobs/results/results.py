"""The leader's loop over Jobs that changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeWriter
from git_events_runner.flow.ports import RunMessages, StatusWriter
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.lifecycle import JobObserver
from git_events_runner.rules.messages import CheckRequest, Fence

from .outcomes import Outcomes
from .phases import LastPhases
from .projection import Projection
from .sweeper import Sweeper

_PASS_S = 2.0
_LOST_PASS_S = 10.0
_REOPEN_S = 30.0
_GATHER_S = 0.1
_PART = 64


class Results:
    """Follows every Job of the installation while this replica is the leader."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        store: Store,
        writer: StatusWriter,
        observers: Sequence[JobObserver],
        submit: Callable[[CheckRequest], None],
        deleted_as: Callable[[str], str | None],
        job_deleted: Callable[[Snapshot, str, str], Awaitable[bool]],
        trigger_deleted: Callable[[Snapshot], Awaitable[bool]],
        most_retries: Callable[[], int],
        messages: RunMessages,
        request_timeout_s: float,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`observers` are called with the changes of the Jobs.

        `deleted_as` is the last phase of a Job, by its uid, that this process deletes. `job_deleted` (of a trigger's
        source, by name) and `trigger_deleted` read live. `most_retries` bounds those of a run.
        `weight` is that of a namespace among the others.
        """
        self._store = store
        self._slices = Slices()
        self._phases = LastPhases()
        self._outcomes = Outcomes(store=store, phases=self._phases, observers=observers, deleted_as=deleted_as, now=now)
        self._projection = Projection(store=store, phases=self._phases, writer=writer, now=now, weight=weight)
        self._sweeper = Sweeper(
            api=api,
            store=store,
            phases=self._phases,
            now=now,
            submit=submit,
            show=self._projection.put,
            job_deleted=job_deleted,
            trigger_deleted=trigger_deleted,
            most_retries=most_retries,
            messages=messages,
            request_timeout_s=request_timeout_s,
            weight=weight,
        )

    async def run_as_leader(self, fence: Fence) -> None:
        """Follow the Jobs until leadership ends. Jobs that ended before are not reported again.

        The first statuses are written from reads after the subscription, and every pass finds the Jobs that
        differ from their known state, so that no end is missed.
        """
        loop = asyncio.get_running_loop()
        self._phases.clear()
        with self._store.subscribe("Job", *TRIGGERS) as changes:
            self._outcomes.begin()
            async with self._projection.working(fence), self._sweeper.working(fence):
                await self._projection.put_all()
                next_sweep, next_lost, next_reopen = loop.time() + _PASS_S, loop.time(), loop.time()
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(next_sweep):
                            await changes.wait()
                            await asyncio.sleep(_GATHER_S)  # deliveries change statuses hundreds of times a second
                    sweeps = loop.time() >= next_sweep
                    changed = changes.drain()
                    if sweeps or any(ref.kind == "Job" for ref in changed):
                        self._outcomes.begin_pass()
                    await self._follow(changed)
                    if sweeps:
                        self._projection.put_refused()
                        await self._compare(self._outcomes.differing())
                        if loop.time() >= next_reopen:
                            self._sweeper.reopen_all()
                            next_reopen = loop.time() + _REOPEN_S
                        await self._sweeper.sweep(fence)
                        if loop.time() >= next_lost:
                            self._projection.prune()
                            await self._sweeper.sweep_lost()
                            next_lost = loop.time() + _LOST_PASS_S
                        next_sweep = loop.time() + _PASS_S

    async def _follow(self, changed: set[Ref]) -> None:
        """Report and show what has changed."""
        found = (self._store.get(ref) for ref in changed if ref.kind in TRIGGERS)
        triggers = {trigger.uid: trigger for trigger in found if trigger is not None}
        jobs = {ref for ref in changed if ref.kind == "Job"}
        await self._compare(list(jobs.union(self._outcomes.undecided_of(triggers))))
        for trigger in triggers.values():  # one that changes meanwhile is processed again
            await self._slices.rest()
            if not self._projection.is_shown(trigger):
                self._projection.put(trigger)

    async def _compare(self, jobs: Sequence[Ref]) -> None:
        """Report what changed in these Jobs, and show it; thousands of them in batches."""
        for start in range(0, len(jobs), _PART):
            await self._slices.rest()
            part = jobs[start : start + _PART]
            self._sweeper.reopen(part)
            for uid in self._outcomes.compare(part):
                if (trigger := self._store.trigger(uid)) is not None:
                    self._projection.put(trigger)
