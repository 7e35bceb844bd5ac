"""The queue: waiting Jobs are suspended Jobs, the leader admits them, never more than `maxRunningJobs`.

Namespaces take turns (`rules/queue`), in each the oldest Job is first. A slot is taken before the request that fills
it. When the outcome of that request is unknown the slot stays taken until a live read after the request's deadline. A
Job that was once seen to be a run keeps its slot until it ends, also when its trigger is deleted meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError, ApiForbidden, ApiNotFound, ApiUnavailable, SecretUnusable
from git_events_runner.resources.job import (
    ADMISSION_ANNOTATION,
    ADMITTED,
    ELSEWHERE,
    TRIGGER_KIND_LABEL,
    WAITING,
    JobView,
)
from git_events_runner.resources.kinds import KINDS, TRIGGERS, Kind
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner, owner_of, series_labels
from git_events_runner.rules.ledger import Mutation, Outcome, rfc3339
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.queue import Queued, Slots, may_start, namespace_share, next_admissions, used_slots
from git_events_runner.rules.report import Problem, Report
from git_events_runner.telemetry import Metrics

log = structlog.get_logger(target="queue")

Json = list[dict[str, Any]]
JOB_SELECTOR = TRIGGER_KIND_LABEL
_ADMISSION_PATH = f"/metadata/annotations/{ADMISSION_ANNOTATION.replace('/', '~1')}"
_TAKEN_S = 15.0
_PASS_S = 1.0
_GATHER_S = 0.02
_TRIES = 64
_ORPHANS = 4
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
        share: Callable[[], int],
        weight: Callable[[str], int],
        waiting_timeout_s: Callable[[], int],
        request_timeout_s: float,
        expired: Callable[[str], None],
        trigger_gone: Callable[[Snapshot], Awaitable[bool]],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`expired` gets a Job's uid before it is deleted unrun; `trigger_gone` reads live.

        `share` is what the runtime config allows one namespace (0: automatic), `weight` its turns in a round.
        """
        self._api = api
        self._list_jobs = list_jobs
        self._store = store
        self._copies = copies
        self._writer = writer
        self._announcer = announcer
        self._limit = limit
        self._share = share
        self._weight = weight
        self._waiting_timeout_s = waiting_timeout_s
        self._request_timeout_s = request_timeout_s
        self._expired = expired
        self._trigger_gone = trigger_gone
        self._metrics = metrics
        self._now = now
        self._leading = False
        self._taken: dict[Ref, float] = {}
        self._first_seen: dict[str, float] = {}
        # Until when, and for how long: back-off of Jobs that cannot start.
        self._held: dict[Ref, tuple[float, float]] = {}
        self._runs: set[str] = set()  # uids of Jobs that were seen to be runs
        self._last: dict[str, int] = {}  # namespace → which admission its last one was
        self._admissions = 0
        self._several = False

    def take(self, ref: Ref) -> bool:
        """Take a place for a Job about to be created; False when none is free, an older Job waits, or another leads."""
        if not self._leading:
            return False
        if ref in self._taken:
            return True
        now = asyncio.get_running_loop().time()
        if not may_start(ref, self._jobs(), slots=self._slots(), taken=self._taken, held=self._held_at(now)):
            return False
        self._taken[ref] = now
        self._note_turn(ref)
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
        self._several = self._serves_several()
        self._first_seen.clear()  # slots taken in an earlier term stay taken: their requests may still arrive
        self._leading = True
        try:
            with self._store.subscribe("Job") as changes:
                next_expiry = loop.time()
                while True:
                    await self._confirm_taken(loop.time())
                    await self._admit(fence)
                    if loop.time() >= next_expiry:
                        await self._expire(fence, loop.time())
                        await self._delete_orphans(fence, loop.time())
                        await self._note_admitted_elsewhere(fence, loop.time())
                        next_expiry = loop.time() + _PASS_S
                    self.show()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(next_expiry):
                            await changes.wait()
                            await asyncio.sleep(_GATHER_S)  # a pass looks at all Jobs: many changes share one
                    changes.take()
        finally:
            self._leading = False
            self._metrics.queue(self._limit(), 0, 0)  # the leader's to say: what was true here would stay

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
        """The runs that hold a slot or wait for one."""
        return [
            Queued(ref=snapshot.ref, job=view)
            for snapshot in self._store.all("Job")
            if not ((view := snapshot.model).finished or view.deleting or view.ending) and self._is_run(snapshot)
        ]

    def _is_run(self, snapshot: Snapshot) -> bool:
        if snapshot.uid in self._runs:
            return True
        if owner_of(snapshot, self._store) is None:
            return False
        self._runs.add(snapshot.uid)
        return True

    def _slots(self) -> Slots:
        total = self._limit()
        each = namespace_share(total, self._share(), several=self._several)
        return Slots(total=total, each=each, weight=self._weight, last=self._last)

    def _serves_several(self) -> bool:
        """Whether triggers of several namespaces share the slots."""
        return len({trigger.ref.namespace for kind in TRIGGERS for trigger in self._store.all(kind)}) > 1

    def _note_turn(self, ref: Ref) -> None:
        self._admissions += 1
        self._last[ref.namespace or ""] = self._admissions

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
            chosen = next_admissions(self._jobs(), slots=self._slots(), taken=self._taken, held=held)
            tries += len(chosen)
            passed = [queued.ref for queued in chosen if not await self._try(queued, fence)]
            for ref in passed:
                self._hold(ref, loop.time())
            if not passed:
                return

    def _hold(self, ref: Ref, now: float) -> None:
        """Pass a Job over for a while that doubles."""
        _, last_s = self._held.get(ref, (0.0, _FIRST_HOLD_S / 2))
        hold_s = min(last_s * 2, _LONGEST_HOLD_S)
        self._held[ref] = (now + hold_s, hold_s)

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
            owner = owner_of(snapshot, self._store)
            if owner is not None:
                await self._report(owner, Problem(reason=error.reason, message=str(error)))
        except ApiUnavailable as error:
            log.warning("job.unconfirmed", namespace=queued.ref.namespace, job=queued.ref.name, error=str(error))
            return True
        except ApiError as error:
            self._taken.pop(queued.ref, None)
            log.warning("job.delayed", namespace=queued.ref.namespace, job=queued.ref.name, error=str(error))
        return False

    async def _start(self, snapshot: Snapshot, fence: Fence) -> bool:
        """Admit one Job, after its Secret is there; one whose trigger is gone is deleted. False: it is no run now."""
        ref, view = snapshot.ref, snapshot.model
        owner = owner_of(snapshot, self._store)
        if owner is None:
            if await self._delete_orphan(snapshot, fence):
                return True
            owner = owner_of(snapshot, self._store)  # the live read may have found its trigger
            if owner is None:
                return False
        self._taken[ref] = asyncio.get_running_loop().time()
        self._note_turn(ref)
        if view.needs_secret:
            if owner.trigger.model is None:
                raise SecretUnusable(f"the trigger is not valid: {owner.trigger.invalid}", reason="InvalidSpec")
            await self._copies.copy_for(snapshot.raw, owner.trigger.model, owner.source)
            fence.check()
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "test", "path": "/spec/suspend", "value": True},
            {"op": "test", "path": _ADMISSION_PATH, "value": view.admission},
            {"op": "test", "path": "/status/startTime", "value": None},
            {"op": "add", "path": _ADMISSION_PATH, "value": ADMITTED},
            {"op": "replace", "path": "/spec/suspend", "value": False},
        ]
        self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        self._taken.pop(ref, None)
        waited_s = (self._now() - view.created_at).total_seconds() if view.created_at else 0.0
        self._metrics.job_waited(max(waited_s, 0.0))
        log.info("job.admitted", namespace=ref.namespace, job=ref.name, seconds=round(waited_s, 3))
        return True

    async def _delete_orphan(self, snapshot: Snapshot, fence: Fence) -> bool:
        """Delete a waiting Job if its trigger is gone, live."""
        if self._store.trigger(snapshot.model.run.trigger_uid) is not None or not await self._trigger_gone(snapshot):
            return False
        fence.check()
        await self._api.delete(snapshot.ref, uid=snapshot.uid, timeout_s=self._request_timeout_s)
        log.info("job.deleted", namespace=snapshot.ref.namespace, job=snapshot.ref.name, reason="TriggerGone")
        return True

    async def _delete_orphans(self, fence: Fence, now: float) -> None:
        """A few in each pass: a Job of no trigger that we know holds no slot and never gets one."""
        held = self._held_at(now)
        waiting = (
            snapshot
            for snapshot in self._store.all("Job")
            if Queued(ref=snapshot.ref, job=snapshot.model).waits
            and snapshot.ref not in held
            and self._store.trigger(snapshot.model.run.trigger_uid) is None
        )
        for snapshot in list(islice(waiting, _ORPHANS)):
            try:
                deleted = await self._delete_orphan(snapshot, fence)
            except ApiError as error:
                deleted = False
                log.debug("job.delayed", namespace=snapshot.ref.namespace, job=snapshot.ref.name, error=str(error))
            if not deleted:
                self._hold(snapshot.ref, now)

    async def _note_admitted_elsewhere(self, fence: Fence, now: float) -> None:
        """A waiting Job that another party let run is not ours to resume from now on, whoever suspends it."""
        held = self._held_at(now)
        for snapshot in self._store.all("Job"):
            ref, view = snapshot.ref, snapshot.model
            if (
                view.suspended
                or view.finished
                or view.admission != WAITING
                or ref in held
                or not self._is_run(snapshot)
            ):
                continue
            fence.check()
            patch: list[dict[str, Any]] = [
                {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
                {"op": "test", "path": _ADMISSION_PATH, "value": WAITING},
                {"op": "replace", "path": _ADMISSION_PATH, "value": ELSEWHERE},
            ]
            try:
                self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
            except ApiError as error:
                self._hold(ref, now)
                log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))

    async def _expire(self, fence: Fence, now: float) -> None:
        """Delete Jobs that waited too long; the time runs from when this leader first saw them."""
        waiting = {}
        for snapshot in self._store.all("Job"):
            if not Queued(ref=snapshot.ref, job=snapshot.model).waits or snapshot.ref in self._taken:
                continue
            owner = owner_of(snapshot, self._store)
            if owner is None:
                continue
            waiting[snapshot.uid] = self._first_seen.get(snapshot.uid, now)
            view: JobView = snapshot.model
            limit_s = self._waiting_timeout_s() if view.waiting_timeout_s is None else view.waiting_timeout_s
            if not limit_s or now - waiting[snapshot.uid] < limit_s or not owner.settled:
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
            labels = series_labels(snapshot, owner, self._store)
            self._metrics.job_ended(labels, snapshot.ref.namespace or "", "Expired", None)
            log.info("job.expired", namespace=snapshot.ref.namespace, job=snapshot.ref.name, seconds=limit_s)
            message = f"Job {snapshot.ref.name} waited {limit_s} s for a slot (maxRunningJobs) and was removed unrun"
            await self._report(owner, Problem(reason="Expired", message=message))
        self._first_seen = waiting
        self._held = {ref: held for ref, held in self._held.items() if self._store.get(ref) is not None}
        self._runs = {uid for uid in self._runs if self._store.by_uid("Job", uid) is not None}
        namespaces = {trigger.ref.namespace for kind in TRIGGERS for trigger in self._store.all(kind)}
        self._last = {namespace: last for namespace, last in self._last.items() if namespace in namespaces}
        self._several = len(namespaces) > 1

    async def _report(self, owner: Owner[Snapshot], problem: Problem) -> None:
        trigger = owner.trigger
        if not (owner.named or owner.entry.exists):
            return
        self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason=problem.reason, note=problem.message)
        report = Report(
            source=owner.source,
            problem=problem,
            generation=trigger.generation,
            now=rfc3339(self._now()),
        )
        try:
            await self._writer.write(trigger.ref, trigger.uid, report)
        except ApiError as error:
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error))


def live_jobs(
    api: Api, namespaces: tuple[str, ...], *, absent: Callable[[str], bool]
) -> Callable[[], AsyncIterator[dict[str, Any]]]:
    """Lists the installation's Jobs live, then its triggers, in every namespace or in those given.

    The triggers' statuses say which of the Jobs are runs. A namespace that does not exist has none: its roles are
    deleted with it, so that the request is refused.
    """

    async def everywhere(kind: str, selector: str | None) -> AsyncIterator[dict[str, Any]]:
        for namespace in namespaces or (None,):
            try:
                async for raw in api.list(KINDS[kind], namespace=namespace, label_selector=selector):
                    yield raw
            except ApiForbidden:
                if namespace is None or not absent(namespace):
                    raise

    async def jobs() -> AsyncIterator[dict[str, Any]]:
        for kind in ("Job", *TRIGGERS):
            async for raw in everywhere(kind, JOB_SELECTOR if kind == "Job" else None):
                yield raw

    return jobs
