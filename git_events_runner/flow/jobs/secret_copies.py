"""Copies of Secrets for Jobs exist until the init container ends: the leader deletes and re-creates them.

The queue creates a copy before it admits its Job. The Job's status shows when the pod has cloned
(`rules/jobs/secret_copies`), so that no permission on pods is needed. If another pod starts, the copy is created again,
from the declaration of the source at that time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import ApiError, ApiNotFound, SecretUnusable
from git_events_runner.flow.ports import SecretCopier, StatusWriter
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner, owner_of
from git_events_runner.rules.jobs.secret_copies import copy_needed
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Problem, Report
from git_events_runner.rules.messages import Fence

log = structlog.get_logger(target="queue")

_GATHER_S = 0.05
_PASS_S = 2.0
_AGAIN_S = 10.0
_LIMIT_S = 30.0
_TOGETHER = 16


class Deletions(Protocol):
    """Deletes what a Job owns."""

    async def delete_copy(self, job: Snapshot) -> None:
        """Delete the copy of a Secret."""


class SecretCopies:
    """Follows the runs whose Jobs need a copy."""

    def __init__(
        self,
        *,
        deletions: Deletions,
        store: Store,
        copies: SecretCopier,
        writer: StatusWriter,
        announcer: EventRecorder,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._deletions = deletions
        self._store = store
        self._copies = copies
        self._writer = writer
        self._announcer = announcer
        self._now = now
        self._weight = weight
        self._slices = Slices()
        self._there: dict[str, bool | None] = {}  # Job uid → whether its copy is there; None: not known
        self._read: dict[str, Snapshot] = {}  # Job uid → its last state that needed no work

    async def run_as_leader(self, fence: Fence) -> None:
        """Delete and re-create copies until leadership ends."""
        loop = asyncio.get_running_loop()

        async def serve(ref: Ref) -> bool:
            return await self._serve(ref, fence)

        self._there.clear()
        self._read.clear()
        self._waiting = Handover(
            serve, weight=self._weight, together=_TOGETHER, limit_s=_LIMIT_S, backoff_s=(_AGAIN_S, _AGAIN_S)
        )
        with self._store.subscribe("Job") as changes:
            async with working(self._waiting):
                await self._pass(known=None)  # copies of an earlier leader are unknown
                next_pass = loop.time() + _PASS_S
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(next_pass):
                            await changes.wait()
                            await asyncio.sleep(_GATHER_S)
                    for ref in changes.drain():
                        if (job := self._store.get(ref)) is not None:
                            self._note(job, known=True)
                    if loop.time() >= next_pass:
                        await self._pass(known=True)
                        next_pass = loop.time() + _PASS_S

    async def _pass(self, *, known: bool | None) -> None:
        """All Jobs that have changed since they needed no work, also those whose change was missed."""
        jobs = self._store.all("Job")
        for job in jobs:
            if self._read.get(job.uid) is not job:
                self._note(job, known=known)
                await self._slices.rest()
        if max(len(self._read), len(self._there)) > len(jobs):
            alive = {job.uid for job in self._store.all("Job")}
            self._there = {uid: there for uid, there in self._there.items() if uid in alive}
            self._read = {uid: job for uid, job in self._read.items() if uid in alive}

    def _note(self, job: Snapshot, *, known: bool | None) -> None:
        """Have a copy created or deleted, if the Job now needs that."""
        if not job.model.needs_secret or job.model.waits:  # the queue creates the copy when it admits the Job
            self._read[job.uid] = job
        elif owner_of(job, self._store) is not None or job.uid in self._there:
            self._there.setdefault(job.uid, None if job.model.admitted_elsewhere else known)
            if self._needed(job) is None:
                self._read[job.uid] = job
            else:
                self._waiting.put(job.ref.namespace, job.ref)

    def _needed(self, job: Snapshot) -> bool | None:
        """Whether to create (True) or delete (False) a copy; None: neither."""
        needed = copy_needed(job.model)
        return None if needed is self._there.get(job.uid) else needed

    async def _serve(self, ref: Ref, fence: Fence) -> bool:
        """Create or delete the copy of one Job; False: that failed."""
        job = self._store.get(ref)
        if job is None or job.uid not in self._there or (needed := self._needed(job)) is None:
            return True
        fence.check()
        owner = owner_of(job, self._store)
        done = await (self._make(job, owner) if needed else self._delete(job))
        if done:
            self._there[job.uid] = needed
            if (changed := self._store.get(ref)) is not None:
                self._note(changed, known=True)  # while this was under way
        return done

    async def _delete(self, job: Snapshot) -> bool:
        try:
            await self._deletions.delete_copy(job)
        except ApiNotFound:
            return True
        except ApiError as error:
            log.info("job.delayed", namespace=job.ref.namespace, job=job.ref.name, error=str(error))
            return False
        return True

    async def _make(self, job: Snapshot, owner: Owner[Snapshot] | None) -> bool:
        if owner is None or owner.trigger.model is None:
            return False
        try:
            await self._copies.copy_for(job.raw, owner.trigger.model, owner.source)
        except SecretUnusable as error:
            await self._report(owner, error.reason, f"Job {job.ref.name} waits for a credential: {error}")
            return False
        except ApiError as error:
            log.info("job.delayed", namespace=job.ref.namespace, job=job.ref.name, error=str(error))
            return False
        return True

    async def _report(self, owner: Owner[Snapshot], reason: str, message: str) -> None:
        """Event and condition: the pod waits, and nothing else reports why."""
        trigger = owner.trigger
        self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason=reason, note=message)
        if not (owner.named or owner.entry.exists):
            return
        problem = Problem(reason=reason, message=message)
        now = rfc3339(self._now())
        report = Report(source=owner.source, problem=problem, generation=trigger.generation, now=now)
        try:
            await self._writer.write(trigger.ref, trigger.uid, report)
        except ApiError as error:
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error))
