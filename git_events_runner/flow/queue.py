"""The queue: waiting Jobs are suspended Jobs, the leader lets them run, oldest first, never more than `maxRunningJobs`.

A place is taken before the request that fills it. When the outcome of that request is unknown the place stays taken
until a live read after the request's deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError, ApiNotFound, ApiUnavailable, SecretUnusable
from git_events_runner.resources.job import TRIGGER_KIND_LABEL, JobView
from git_events_runner.resources.kinds import KINDS, Kind
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger import Mutation, Outcome, entry_of, rfc3339
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.queue import Queued, may_start, next_admissions, used_slots
from git_events_runner.rules.report import Problem, Report
from git_events_runner.telemetry import Metrics

log = structlog.get_logger(target="queue")

Json = list[dict[str, Any]]
JOB_SELECTOR = TRIGGER_KIND_LABEL
_TAKEN_S = 15.0
_PASS_S = 1.0
_GATHER_S = 0.02
_TRIES = 64
_FIRST_HOLD_S = 2.0
_LONGEST_HOLD_S = 60.0


class Api(Protocol):
    """What the queue needs of the API server."""

    def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now."""

    async def patch(
        self,
        ref: Ref,
        body: Json,
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Apply a JSON Patch."""

    async def delete(
        self,
        ref: Ref,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        timeout_s: float | None = None,
    ) -> object:
        """Delete an object."""


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


class Queue:
    """Gives places to Jobs while this replica leads (`run_leading`); else every new Job starts suspended."""

    def __init__(
        self,
        *,
        api: Api,
        list_jobs: Callable[[], AsyncIterator[dict[str, Any]]],
        store: Store,
        copies: Copies,
        writer: Writer,
        announcer: Announcer,
        limit: Callable[[], int],
        waiting_timeout_s: Callable[[], int],
        request_timeout_s: float,
        expired: Callable[[str], None],
        trigger_gone: Callable[[Snapshot], Awaitable[bool]],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`expired` is told a Job's uid before it is deleted unrun; `trigger_gone` asks live."""
        self._api = api
        self._list_jobs = list_jobs
        self._store = store
        self._copies = copies
        self._writer = writer
        self._announcer = announcer
        self._limit = limit
        self._waiting_timeout_s = waiting_timeout_s
        self._request_timeout_s = request_timeout_s
        self._expired = expired
        self._trigger_gone = trigger_gone
        self._metrics = metrics
        self._now = now
        self._leading = False
        self._taken: dict[Ref, float] = {}
        self._first_seen: dict[str, float] = {}
        self._held: dict[
            Ref, tuple[float, float]
        ] = {}  # until when, and for how long: back-off of Jobs that cannot start

    def take(self, ref: Ref) -> bool:
        """Take a place for a Job about to be created; False when none is free, an older Job waits, or another leads."""
        if not self._leading:
            return False
        if ref in self._taken:
            return True
        now = asyncio.get_running_loop().time()
        jobs = (Queued(ref=snapshot.ref, job=snapshot.model) for snapshot in self._store.all("Job"))
        if not may_start(jobs, limit=self._limit(), taken=self._taken, held=self._held_at(now)):
            return False
        self._taken[ref] = now
        return True

    def release(self, ref: Ref) -> None:
        """Give the place back: the Job was not created."""
        self._taken.pop(ref, None)

    def confirm(self, ref: Ref) -> None:
        """The Job counts by itself now."""
        self._taken.pop(ref, None)

    def show(self) -> None:
        """Bring the gauges up to date."""
        jobs = self._jobs()
        waiting = sum(queued.waits for queued in jobs)
        self._metrics.queue(self._limit(), waiting, used_slots(jobs, self._taken))

    async def run_leading(self, fence: Fence) -> None:
        """Admit and expire until leadership ends."""
        loop = asyncio.get_running_loop()
        await self._list_live(fence)
        self._first_seen.clear()  # places taken in an earlier term stay taken: their requests may still arrive
        self._leading = True
        try:
            with self._store.subscribe("Job") as changes:
                next_expiry = loop.time()
                while True:
                    await self._confirm_taken(loop.time())
                    await self._admit(fence)
                    if loop.time() >= next_expiry:
                        await self._expire(fence, loop.time())
                        next_expiry = loop.time() + _PASS_S
                    self.show()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(next_expiry):
                            await changes.wait()
                            await asyncio.sleep(_GATHER_S)  # a pass looks at all Jobs: many changes share one
                    changes.take()
        finally:
            self._leading = False

    async def _list_live(self, fence: Fence) -> None:
        """Know every Job before the first is admitted: this replica's cache may be behind what its predecessor did."""
        while True:
            try:
                async for raw in self._list_jobs():
                    self._store.observe(raw)
            except ApiError as error:
                log.warning("queue.delayed", error=str(error))
                await asyncio.sleep(_PASS_S)
                fence.check()
            else:
                return

    def _jobs(self) -> list[Queued]:
        return [Queued(ref=snapshot.ref, job=snapshot.model) for snapshot in self._store.all("Job")]

    async def _confirm_taken(self, now: float) -> None:
        """Places whose request has had its time: does the Job exist?"""
        for ref, since in list(self._taken.items()):
            if now - since < _TAKEN_S:
                continue
            try:
                self._store.observe(await self._api.get(ref))
            except ApiNotFound:
                pass
            except ApiError:
                continue
            self._taken.pop(ref, None)

    async def _admit(self, fence: Fence) -> None:
        """Let Jobs run while there are places. One that cannot start is passed over: it must not keep others out."""
        loop, tries = asyncio.get_running_loop(), 0
        while tries < _TRIES:
            held = self._held_at(loop.time())
            chosen = next_admissions(self._jobs(), limit=self._limit(), taken=self._taken, held=held)
            tries += len(chosen)
            passed = [queued.ref for queued in chosen if not await self._try(queued, fence)]
            for ref in passed:
                _, last_s = self._held.get(ref, (0.0, _FIRST_HOLD_S / 2))
                hold_s = min(last_s * 2, _LONGEST_HOLD_S)
                self._held[ref] = (loop.time() + hold_s, hold_s)
            if not passed:
                return

    def _held_at(self, now: float) -> frozenset[Ref]:
        return frozenset(ref for ref, (until, _) in self._held.items() if until > now)

    async def _try(self, queued: Queued, fence: Fence) -> bool:
        """Whether that Job runs, or need not wait any more; False: something of its own keeps it from that."""
        snapshot = self._store.get(queued.ref)
        if snapshot is None or not Queued(ref=queued.ref, job=snapshot.model).waits:
            return True
        fence.check()
        try:
            return await self._start(snapshot, fence)
        except ApiNotFound:
            self._taken.pop(queued.ref, None)
            return True
        except SecretUnusable as error:
            self._taken.pop(queued.ref, None)
            await self._tell(snapshot, Problem(reason=error.reason, message=str(error)))
        except ApiUnavailable as error:
            log.warning("job.unconfirmed", namespace=queued.ref.namespace, job=queued.ref.name, error=str(error))
            return True
        except ApiError as error:
            self._taken.pop(queued.ref, None)
            log.warning("job.delayed", namespace=queued.ref.namespace, job=queued.ref.name, error=str(error))
        return False

    async def _start(self, snapshot: Snapshot, fence: Fence) -> bool:
        """Admit one Job, after its Secret is there; one whose trigger is gone is deleted. False: it has no trigger."""
        ref, view = snapshot.ref, snapshot.model
        trigger = self._trigger_of(view)
        if trigger is None:
            if await self._trigger_gone(snapshot):
                fence.check()
                await self._api.delete(ref, uid=snapshot.uid, timeout_s=self._request_timeout_s)
                log.info("job.deleted", namespace=ref.namespace, job=ref.name, reason="TriggerGone")
                return True
            trigger = self._trigger_of(view)  # the live look may have found it
            if trigger is None:
                return False
        self._taken[ref] = asyncio.get_running_loop().time()
        if view.needs_secret:
            if trigger.model is None:
                raise SecretUnusable(f"the trigger is not valid: {trigger.invalid}", reason="InvalidSpec")
            await self._copies.copy_for(snapshot.raw, trigger.model, view.run.source)
            fence.check()
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "test", "path": "/spec/suspend", "value": True},
            {"op": "replace", "path": "/spec/suspend", "value": False},
        ]
        self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        self._taken.pop(ref, None)
        waited_s = (self._now() - view.created_at).total_seconds() if view.created_at else 0.0
        self._metrics.job_waited(max(waited_s, 0.0))
        log.info("job.admitted", namespace=ref.namespace, job=ref.name, seconds=round(waited_s, 3))
        return True

    async def _expire(self, fence: Fence, now: float) -> None:
        """Delete Jobs that waited too long; the time runs from when this leader first saw them."""
        waiting = {}
        for snapshot in self._store.all("Job"):
            if not Queued(ref=snapshot.ref, job=snapshot.model).waits or snapshot.ref in self._taken:
                continue
            waiting[snapshot.uid] = self._first_seen.get(snapshot.uid, now)
            view: JobView = snapshot.model
            limit_s = self._waiting_timeout_s() if view.waiting_timeout_s is None else view.waiting_timeout_s
            if not limit_s or now - waiting[snapshot.uid] < limit_s or not self._settled(view):
                continue
            fence.check()
            try:
                self._expired(snapshot.uid)
                await self._api.delete(
                    snapshot.ref,
                    uid=snapshot.uid,
                    resource_version=str(snapshot.version),
                    timeout_s=self._request_timeout_s,
                )
            except ApiError as error:
                log.debug("job.delayed", namespace=snapshot.ref.namespace, job=snapshot.ref.name, error=str(error))
                continue
            self._metrics.job_ended(view.labels, snapshot.ref.namespace or "", "Expired", None)
            log.info("job.expired", namespace=snapshot.ref.namespace, job=snapshot.ref.name, seconds=limit_s)
            message = f"Job {snapshot.ref.name} waited {limit_s} s for a place (maxRunningJobs) and was removed unrun"
            await self._tell(snapshot, Problem(reason="Expired", message=message))
        self._first_seen = waiting
        self._held = {ref: held for ref, held in self._held.items() if self._store.get(ref) is not None}

    def _settled(self, view: JobView) -> bool:
        trigger = self._trigger_of(view)
        if trigger is None or view.run is None:
            return False
        return entry_of(trigger.raw.get("status"), view.run.source).runs >= view.run.number

    def _trigger_of(self, view: JobView) -> Snapshot | None:
        return self._store.trigger(view.run.trigger_uid) if view.run else None

    async def _tell(self, snapshot: Snapshot, problem: Problem) -> None:
        trigger = self._trigger_of(snapshot.model)
        if trigger is None:
            return
        self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason=problem.reason, note=problem.message)
        report = Report(
            source=snapshot.model.run.source,
            problem=problem,
            generation=trigger.generation,
            now=rfc3339(self._now()),
        )
        try:
            await self._writer.write(trigger.ref, trigger.uid, report)
        except ApiError as error:
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error))


def live_jobs(api: Api, namespaces: tuple[str, ...]) -> Callable[[], AsyncIterator[dict[str, Any]]]:
    """Lists the installation's Jobs live, in every namespace or in those given."""

    async def jobs() -> AsyncIterator[dict[str, Any]]:
        for namespace in namespaces or (None,):
            async for raw in api.list(KINDS["Job"], namespace=namespace, label_selector=JOB_SELECTOR):
                yield raw

    return jobs
