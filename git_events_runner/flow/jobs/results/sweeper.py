"""Jobs that are open: runs that are not settled, missing TTLs, statuses that name a deleted Job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeWriter
from git_events_runner.errors import ApiError
from git_events_runner.flow.ports import RunMessages
from git_events_runner.resources.job import JobView
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.history import RunState
from git_events_runner.rules.identity import Owner, owner_of
from git_events_runner.rules.jobs.last_job import unfinished_jobs
from git_events_runner.rules.jobs.retry import next_attempt
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.messages import CheckRequest, Fence

from .phases import LastPhases

log = structlog.get_logger(target="results")

_TTL_AFTER_SETTLING_S = 15.0
_LONGEST_BACKOFF_S = 60.0
_UNSETTLED_S = 10.0
_LOST_S = 15.0
_LOST_READS = 50
_ORPHANS = 8
_TOGETHER = 16

_Lost = tuple[str, str, str]  # uid of the trigger, source, name of the Job


class Sweeper:
    """Keeps the Jobs that are open: not settled, or without their TTL. The others are not read again."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        store: Store,
        phases: LastPhases,
        now: Callable[[], datetime],
        submit: Callable[[CheckRequest], None],
        show: Callable[[Snapshot], None],
        job_deleted: Callable[[Snapshot, str, str], Awaitable[bool]],
        trigger_deleted: Callable[[Snapshot], Awaitable[bool]],
        most_retries: Callable[[], int],
        messages: RunMessages,
        request_timeout_s: float,
        weight: Weight,
    ) -> None:
        """`show` is called with a trigger whose Job is found deleted; `job_deleted` and `trigger_deleted` read live.

        `weight` is that of a namespace among the others.
        """
        self._api = api
        self._store = store
        self._phases = phases
        self._now = now
        self._submit = submit
        self._show = show
        self._job_deleted = job_deleted
        self._trigger_deleted = trigger_deleted
        self._most_retries = most_retries
        self._messages = messages
        self._request_timeout_s = request_timeout_s
        self._weight = weight
        self._slices = Slices()
        self._open: set[Ref] = set()
        self._unsettled_since: dict[str, float] = {}  # by the uid of the Job
        self._settled_since: dict[str, float] = {}
        self._lost_since: dict[_Lost, float] = {}

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """TTLs are written while entered, those of different Jobs concurrently."""

        async def give_ttl(ref: Ref) -> bool:
            return await self._give_ttl(ref, fence)

        self._open.clear()
        self._unsettled_since.clear()
        self._settled_since.clear()
        self._lost_since.clear()
        backoff_s = (_TTL_AFTER_SETTLING_S, _LONGEST_BACKOFF_S)
        self._ttls = Handover(give_ttl, weight=self._weight, together=_TOGETHER, backoff_s=backoff_s)
        self._lost = Handover(self._find_lost, weight=self._weight, together=_TOGETHER)
        async with working(self._ttls, self._lost):
            yield

    def reopen(self, jobs: Iterable[Ref]) -> None:
        """These Jobs have changed."""
        self._open.update(jobs)

    def reopen_all(self) -> None:
        """Read every Job again, once: a status may have been restored."""
        self._open.update(snapshot.ref for snapshot in self._store.all("Job"))

    async def sweep(self, fence: Fence) -> None:
        """Settle what has stayed unsettled, and have TTLs written; close Jobs that need neither."""
        now, orphans = asyncio.get_running_loop().time(), 0
        unsettled, settled = {}, {}
        for ref in list(self._open):
            await self._slices.rest()
            snapshot = self._store.get(ref)
            if snapshot is None:
                self._open.discard(ref)
                continue
            owner = owner_of(snapshot, self._store)
            if owner is not None and owner.number is not None and not owner.settled:
                unsettled[snapshot.uid] = self._settle(snapshot, owner, fence, now)
            elif self._may_end(snapshot, owner):
                since = settled[snapshot.uid] = self._settled_since.get(snapshot.uid, now)
                due = now - since >= _TTL_AFTER_SETTLING_S and ref not in self._ttls
                if due and (owner is not None or orphans < _ORPHANS):
                    orphans += owner is None
                    self._ttls.put(ref.namespace, ref)
            else:
                self._open.discard(ref)
        self._unsettled_since, self._settled_since = unsettled, settled

    def _settle(self, snapshot: Snapshot, owner: Owner[Snapshot], fence: Fence, now: float) -> float:
        """Since when a run is unsettled whose creator has ended before settling; after 10 s its trigger is checked."""
        since = self._unsettled_since.get(snapshot.uid, now)
        if now - since < _UNSETTLED_S:
            return since
        log.info("job.swept", namespace=snapshot.ref.namespace, job=snapshot.ref.name)
        trigger = owner.trigger
        self._submit(CheckRequest(trigger=trigger.ref, uid=trigger.uid, source=owner.source, due_at=None, fence=fence))
        return now

    def _may_end(self, job: Snapshot, owner: Owner[Snapshot] | None) -> bool:
        """Whether a Job lacks a TTL and may have one: settled, or of a trigger that this replica does not know.

        A Job that is retried if it fails, or because it failed, has to stay until then (`ttl_after_retry`).
        """
        view: JobView = job.model
        if view.has_ttl or view.ttl_s is None or view.deleting or view.run is None:
            return False
        if owner is not None:
            retried = next_attempt(view, owner, most=self._most_retries()) is not None
            return owner.settled and not retried and not self._messages.keeps(job)
        return self._store.trigger(view.run.trigger_uid) is None

    async def _give_ttl(self, ref: Ref, fence: Fence) -> bool:
        """A settled Job gets its TTL, 15 s later at the earliest: older than any POST still under way."""
        snapshot = self._store.get(ref)
        if snapshot is None:
            return True
        owner = owner_of(snapshot, self._store)
        if not self._may_end(snapshot, owner):
            return True
        if owner is None and not await self._is_trigger_deleted(snapshot):
            return False
        fence.check()
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": snapshot.uid},
            {"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": snapshot.model.ttl_s},
        ]
        try:
            self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        except ApiError as error:
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        return True

    async def _is_trigger_deleted(self, snapshot: Snapshot) -> bool:
        """Whether its trigger is deleted, in a live read: a stale cache must not cause the loss of an unsettled Job."""
        try:
            return await self._trigger_deleted(snapshot)
        except ApiError:
            return False

    async def sweep_lost(self) -> None:
        """Have Jobs read that statuses show as unfinished, and that have not been known here for a while."""
        now, reads = asyncio.get_running_loop().time(), 0
        seen: dict[_Lost, float] = {}
        for trigger in (trigger for kind in TRIGGERS for trigger in self._store.all(kind)):
            await self._slices.rest()
            names = unfinished_jobs(trigger.raw.get("status"))
            if not names or self._store.refused(trigger.ref.namespace, "Job"):
                continue
            for name, source in names.items():
                if self._is_known(trigger, name):
                    continue
                key = (trigger.uid, source, name)
                seen[key] = self._lost_since.get(key, now)
                if now - seen[key] >= _LOST_S and reads < _LOST_READS and key not in self._lost:
                    reads += 1
                    self._lost.put(trigger.ref.namespace, key)
        self._lost_since = seen

    def _is_known(self, trigger: Snapshot, name: str) -> bool:
        """Whether that Job of a trigger exists, or is known to be deleted."""
        job = self._store.get(Ref("Job", trigger.ref.namespace, name))
        run = job.model.run if job is not None else None
        return (run is not None and run.trigger_uid == trigger.uid) or name in self._phases

    async def _find_lost(self, key: _Lost) -> bool:
        """Show a Job as `Gone` that a live read does not find: it was deleted without a leader, its end is unknown."""
        uid, source, name = key
        trigger = self._store.trigger(uid)
        if trigger is None or self._is_known(trigger, name):
            return True
        try:
            deleted = await self._job_deleted(trigger, source, name)
            if deleted:
                await self._messages.lost(trigger, source, name)
        except ApiError as error:
            log.debug("job.delayed", namespace=trigger.ref.namespace, job=name, error=str(error))
            return False
        if deleted:
            self._phases.put(name, RunState(phase="Gone", finished=rfc3339(self._now())))
            self._show(trigger)
            log.info("job.gone", namespace=trigger.ref.namespace, job=name)
        return True
