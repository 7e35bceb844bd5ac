"""Copies of Secrets beside Jobs live until the init container is done: the leader deletes them, and makes them again.

The queue makes a copy before it admits its Job. The Job's status says when the pod has cloned (`rules/copies`), so that
no right on pods is needed. Should another pod start, the copy is made again, from the source as it is declared then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError, ApiNotFound, SecretUnusable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.copies import copy_needed
from git_events_runner.rules.identity import Owner, owner_of
from git_events_runner.rules.ledger import Mutation, Outcome, rfc3339
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.report import Problem, Report

log = structlog.get_logger(target="queue")

_GATHER_S = 0.05
_PASS_S = 2.0
_AGAIN_S = 10.0


class Deletions(Protocol):
    """Deletes what a Job owns."""

    async def delete_copy(self, job: Snapshot) -> None:
        """Delete the copy of a Secret."""


class Copies(Protocol):
    """Makes the Secret that a Job's init container mounts when its source's credential lives elsewhere."""

    async def copy_for(self, job: Mapping[str, Any], trigger: Any, source: str) -> None:
        """Create it, owned by the Job; done already is fine."""


class Writer(Protocol):
    """Writes a trigger's status."""

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations; their outcomes."""


class Announcer(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one, some time."""


class SecretCopies:
    """Follows the runs whose Jobs need a copy."""

    def __init__(
        self,
        *,
        deletions: Deletions,
        store: Store,
        copies: Copies,
        writer: Writer,
        announcer: Announcer,
        now: Callable[[], datetime],
    ) -> None:
        self._deletions = deletions
        self._store = store
        self._copies = copies
        self._writer = writer
        self._announcer = announcer
        self._now = now
        self._there: dict[str, bool | None] = {}  # Job uid → whether its copy is there; None: not known
        self._again_at: dict[str, float] = {}

    async def run_leading(self, fence: Fence) -> None:
        """Delete and make again until leadership ends."""
        self._there.clear()
        with self._store.subscribe("Job") as changes:
            known: bool | None = None  # what an earlier leader left is not known
            while True:
                await self._pass(fence, known=known)
                known = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PASS_S):
                        await changes.wait()
                        await asyncio.sleep(_GATHER_S)
                changes.take()

    async def _pass(self, fence: Fence, *, known: bool | None) -> None:
        now, alive = asyncio.get_running_loop().time(), set()
        for job in self._store.all("Job"):
            if not job.model.needs_secret or job.model.waits:
                continue  # the queue makes the copy when it admits the Job
            owner = owner_of(job, self._store)
            if owner is None and job.uid not in self._there:
                continue
            alive.add(job.uid)
            there = self._there.setdefault(job.uid, None if job.model.admitted_elsewhere else known)
            needed = copy_needed(job.model)
            if needed is None or needed is there or self._again_at.get(job.uid, now) > now:
                continue
            fence.check()
            done = await (self._make(job, owner) if needed else self._delete(job))
            if done:
                self._there[job.uid] = needed
                self._again_at.pop(job.uid, None)
            else:
                self._again_at[job.uid] = now + _AGAIN_S
        self._there = {uid: there for uid, there in self._there.items() if uid in alive}
        self._again_at = {uid: at for uid, at in self._again_at.items() if uid in alive}

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
        """Event and condition: the pod waits, and nothing else says why."""
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
