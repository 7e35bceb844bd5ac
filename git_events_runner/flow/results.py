"""What became of the Jobs: the leader writes phases and `state`, TTLs, Events, metrics, and a log line for each end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.job import JobView
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.change import words_of
from git_events_runner.rules.endings import COMMIT_CHARS, ended
from git_events_runner.rules.identity import Owner, owner_of, run_of, runs_of, series_labels
from git_events_runner.rules.lastjob import EXPIRED, is_recorded_expired, shown_phase, unfinished_jobs
from git_events_runner.rules.ledger import Mutation, Outcome, Progress, entry_of, rfc3339
from git_events_runner.rules.messages import CheckRequest, Fence
from git_events_runner.rules.report import CloneReport
from git_events_runner.rules.statuspatch import combine
from git_events_runner.telemetry import Metrics

log = structlog.get_logger(target="results")

_TTL_AFTER_SETTLING_S = 15.0
_UNSETTLED_S = 10.0
_PASS_S = 2.0
_LOST_PASS_S = 10.0
_LOST_S = 15.0
_GATHER_S = 0.1
_KEPT = 1000
_ORPHANS = 8
_LOST_READS = 50


class Api(Protocol):
    """What following Jobs needs of the API server."""

    async def patch(
        self,
        ref: Ref,
        body: list[dict[str, Any]],
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Apply a JSON Patch."""


class Writer(Protocol):
    """Writes a trigger's status."""

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations; their outcomes."""


class Announcer(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one, some time."""


class Results:
    """Follows every Job of the installation while this replica leads."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        writer: Writer,
        announcer: Announcer,
        submit: Callable[[CheckRequest], None],
        deleted_as: Callable[[str], str | None],
        job_deleted: Callable[[Snapshot, str, str], Awaitable[bool]],
        trigger_gone: Callable[[Snapshot], Awaitable[bool]],
        request_timeout_s: float,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`deleted_as` is the last phase of a Job, by its uid, that this process deletes.

        `job_deleted` (of a trigger's source, by name) and `trigger_gone` read live.
        """
        self._api = api
        self._store = store
        self._writer = writer
        self._announcer = announcer
        self._submit = submit
        self._deleted_as = deleted_as
        self._job_deleted = job_deleted
        self._trigger_gone = trigger_gone
        self._request_timeout_s = request_timeout_s
        self._metrics = metrics
        self._now = now
        self._vanished: OrderedDict[str, str] = OrderedDict()
        self._again: set[str] = set()
        self._shown: dict[str, object] = {}  # uid → what a status said of its Jobs when nothing was to be written
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._refused: frozenset[str] = frozenset()  # namespaces whose Jobs were refused at the last pass
        self._joining: frozenset[str] = frozenset()  # those whose Jobs are, or were then

    async def run_leading(self, fence: Fence) -> None:
        """Follow the Jobs until leadership ends. Jobs that ended before are not reported again.

        What the first statuses are written from is read after the subscription, and every pass compares all Jobs: an
        end is noticed whatever else is being written when it comes.
        """
        loop = asyncio.get_running_loop()
        self._vanished.clear()
        self._again.clear()
        self._shown.clear()
        self._refused = self._store.scopes.of("Job")
        settled_since: dict[str, float] = {}
        unsettled_since: dict[str, float] = {}
        lost_since: dict[tuple[str, str], float] = {}
        undecided: set[str] = set()
        with self._store.subscribe("Job", *TRIGGERS) as changes:
            known = {snapshot.uid: snapshot for snapshot in self._store.all("Job")}
            self._gone = OrderedDict.fromkeys(snapshot.uid for snapshot in self._store.vanished())
            await self._show_all(fence)
            next_sweep, next_lost = loop.time() + _PASS_S, loop.time()
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_sweep):
                        await changes.wait()
                        await asyncio.sleep(_GATHER_S)  # deliveries change statuses hundreds of times a second
                changed = changes.take()
                dirty = (self._store.get(ref) for ref in changed if ref.kind in TRIGGERS)
                touched = {one.uid for one in dirty if one and self._shown.get(one.uid) != _said(one)}
                if undecided or loop.time() >= next_sweep or any(ref.kind == "Job" for ref in changed):
                    refused = self._store.scopes.of("Job")
                    self._joining, self._refused = self._refused | refused, refused
                    current = {snapshot.uid: snapshot for snapshot in self._store.all("Job")}
                    touched |= self._compare(known, current) | self._unseen(changed)
                    undecided = self._undecided(known, current)
                    before = {uid: known[uid] for uid in undecided if uid in known}
                    known = {uid: job for uid, job in current.items() if uid not in undecided} | before
                touched |= self._again
                self._again.clear()
                for uid in touched:
                    await self._show(uid, fence)
                if loop.time() >= next_sweep:
                    self._sweep_unsettled(known, unsettled_since, fence, loop.time())
                    await self._give_ttl(known, settled_since, fence, loop.time())
                    if loop.time() >= next_lost:
                        self._shown = {uid: said for uid, said in self._shown.items() if self._store.trigger(uid)}
                        lost_since = await self._sweep_lost(lost_since, loop.time())
                        next_lost = loop.time() + _LOST_PASS_S
                    next_sweep = loop.time() + _PASS_S

    def _compare(self, before: Mapping[str, Snapshot], after: Mapping[str, Snapshot]) -> set[str]:
        """Report what ended or vanished; the uids of the triggers concerned."""
        touched: set[str] = set()
        for uid, snapshot in after.items():
            old = before.get(uid)
            view: JobView = snapshot.model
            if old is not None and (old.model.phase, old.model.deleting) == (view.phase, view.deleting):
                continue
            owner = self._owner(snapshot)
            if owner is None:
                continue
            touched.add(owner.trigger.uid)
            if old is not None or snapshot.ref.namespace not in self._joining:  # else as at the start of a leadership
                self._note_changed(snapshot, old, owner)
        for uid, snapshot in before.items():
            if uid not in after:
                self._went(uid)
                if (owner := self._owner(snapshot)) is not None:
                    touched.add(owner.trigger.uid)
                    if not snapshot.model.finished:
                        self._note_vanished(snapshot, owner)
        return touched

    def _note_changed(self, snapshot: Snapshot, old: Snapshot | None, owner: Owner[Snapshot]) -> None:
        """It ended, or another party suspended it."""
        view: JobView = snapshot.model
        if view.finished and (old is None or not old.model.finished):
            self._ended(snapshot, owner)
        elif view.suspended_elsewhere and not view.deleting:
            self._suspended(snapshot, owner)

    def _undecided(self, before: Mapping[str, Snapshot], after: Mapping[str, Snapshot]) -> set[str]:
        """Changed Jobs that may turn out to be runs: the status that makes them so may arrive after them."""
        found = set()
        for uid, snapshot in after.items():
            run = snapshot.model.run
            if run is None or before.get(uid) is snapshot:
                continue
            trigger = self._store.trigger(run.trigger_uid)
            if (
                trigger is not None
                and trigger.ref.namespace == snapshot.ref.namespace
                and not run_of(snapshot, trigger)
            ):
                found.add(uid)
        return found

    def _unseen(self, changed: set[Ref]) -> set[str]:
        """Report Jobs that came and went between two looks; the uids of the triggers concerned."""
        touched: set[str] = set()
        for snapshot in self._store.vanished():
            if snapshot.ref in changed and snapshot.uid not in self._gone:
                self._went(snapshot.uid)
                if (owner := self._owner(snapshot)) is not None:
                    touched.add(owner.trigger.uid)
                    self._note_vanished(snapshot, owner)
        return touched

    def _went(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _KEPT:
            self._gone.popitem(last=False)

    def _owner(self, job: Snapshot) -> Owner[Snapshot] | None:
        """Whose run a Job is; None: it is ignored."""
        return owner_of(job, self._store)

    def _note_vanished(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """It ended and went in one moment (a TTL of 0), waited too long, or somebody deleted it."""
        last, status = self._store.last_of(snapshot.uid) or snapshot, owner.trigger.raw.get("status")
        if last.model.finished:
            phase = last.model.phase
            self._ended(last, owner)
        elif self._deleted_as(snapshot.uid) == EXPIRED or is_recorded_expired(status, owner.source, snapshot.ref.name):
            phase = EXPIRED
        else:
            phase = "Deleted"
            self._cancelled(snapshot, owner)
        self._vanish(snapshot.ref.name, phase)

    def _vanish(self, name: str, phase: str) -> None:
        self._vanished[name] = phase
        if len(self._vanished) > _KEPT:
            self._vanished.popitem(last=False)

    def _ended(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        view: JobView = snapshot.model
        seconds = (view.ended_at - view.started_at).total_seconds() if view.ended_at and view.started_at else None
        succeeded = view.result == "Succeeded"
        labels = series_labels(snapshot, owner, self._store)
        self._metrics.job_ended(labels, snapshot.ref.namespace or "", "Succeed" if succeeded else "Failed", seconds)
        trigger = owner.trigger
        told = ended(snapshot.ref, view, owner.source)
        level = log.info if succeeded else log.warning
        level(
            "job.finished",
            kind=trigger.ref.kind,
            namespace=trigger.ref.namespace,
            name=trigger.ref.name,
            source=owner.source,
            job=snapshot.ref.name,
            commit=(view.commit or "")[:COMMIT_CHARS] or None,
            reason=view.reason if words_of(view.reason) else None,
            result=view.result,
            exit_code=view.failure.exit_code if view.failure else None,
            error=told.error,
            seconds=seconds,
        )
        if view.clone_exit is not None:
            self._announcer.publish(snapshot.ref, snapshot.uid, kind=told.kind, reason=told.reason, note=told.note)
        if owner.number is not None:
            self._announcer.publish(trigger.ref, trigger.uid, kind=told.kind, reason=told.reason, note=told.note)

    def _suspended(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """Another party suspended it: a person, or another controller."""
        log.info("job.suspended", namespace=snapshot.ref.namespace, job=snapshot.ref.name)
        note = (
            f"Job {snapshot.ref.name} was suspended by another party; its run waits until that Job's spec.suspend is "
            "set to false, git-events-runner does not resume it"
        )
        for ref, uid in ((owner.trigger.ref, owner.trigger.uid), (snapshot.ref, snapshot.uid)):
            self._announcer.publish(ref, uid, kind="Normal", reason="JobSuspended", note=note)

    def _cancelled(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """A Job that vanished unfinished: deleted by a person or with its Action; no new run (the guarantees page)."""
        labels = series_labels(snapshot, owner, self._store)
        self._metrics.job_ended(labels, snapshot.ref.namespace or "", "Deleted", None)
        log.info("job.cancelled", namespace=snapshot.ref.namespace, job=snapshot.ref.name)
        trigger = owner.trigger
        if owner.number is not None:
            note = f"Job {snapshot.ref.name} was deleted before it ended; its change does not run again"
            self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason="JobCancelled", note=note)

    async def _show_all(self, fence: Fence) -> None:
        for kind in TRIGGERS:
            for trigger in self._store.all(kind):
                if (trigger.raw.get("status") or {}).get("checkedSources"):
                    await self._show(trigger.uid, fence)

    async def _show(self, trigger_uid: str, fence: Fence) -> None:
        """Write phases and `state` of one trigger, if they changed."""
        trigger = self._store.trigger(trigger_uid)
        if trigger is None:
            return
        if self._store.refused(trigger.ref.namespace, "Job", trigger.ref.kind):
            self._again.add(trigger_uid)  # what is known of its Jobs is old, or nothing
            return
        status = trigger.raw.get("status") or {}
        jobs = runs_of(trigger, self._store.jobs_of(trigger_uid))
        running = any(not job.model.finished and not job.model.deleting for job in jobs)
        by_name = {job.ref.name: job.model.phase for job in jobs}
        exits_by_name = {job.ref.name: job.model.clone_exit for job in jobs}
        phases, exits = {}, {}
        for source in status.get("checkedSources") or {}:
            name = entry_of(status, source).job_name
            if name is not None:
                if name in by_name:
                    self._vanished.pop(name, None)  # it is there, or there again
                phase = by_name.get(name) or self._vanished.get(name)
                if phase:
                    phases[source] = (name, shown_phase(status, source, name, phase))
                    exits[source] = (name, exits_by_name.get(name))
        progress = Progress(running=running, phases=phases)
        clones = CloneReport(exits=exits, generation=trigger.generation, now=rfc3339(self._now()))
        self._shown.pop(trigger_uid, None)
        if set(combine(status, [progress, clones])[1]) == {Outcome.DONE}:
            self._shown[trigger_uid] = _said(trigger)
            return
        fence.check()
        try:
            await self._writer.write(trigger.ref, trigger.uid, progress, clones)
        except ApiNotFound:
            return
        except ApiError as error:
            self._again.add(trigger_uid)
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error))

    def _sweep_unsettled(self, jobs: Mapping[str, Snapshot], since: dict[str, float], fence: Fence, now: float) -> None:
        """Runs whose creator vanished before settling: settled in the trigger's lane after 10 s."""
        for uid in [uid for uid in since if uid not in jobs]:
            del since[uid]
        for uid, snapshot in jobs.items():
            owner = self._owner(snapshot)
            if owner is None or owner.number is None or owner.settled:
                since.pop(uid, None)
                continue
            if now - since.setdefault(uid, now) < _UNSETTLED_S:
                continue
            since[uid] = now
            log.info("job.swept", namespace=snapshot.ref.namespace, job=snapshot.ref.name)
            self._submit(
                CheckRequest(
                    trigger=owner.trigger.ref, uid=owner.trigger.uid, source=owner.source, due_at=None, fence=fence
                )
            )

    async def _sweep_lost(self, since: dict[tuple[str, str], float], now: float) -> dict[tuple[str, str], float]:
        """Jobs that were deleted while no replica was the leader, live: shown as Gone, how they ended is not known."""
        seen: dict[tuple[str, str], float] = {}
        reads = 0
        for trigger in (trigger for kind in TRIGGERS for trigger in self._store.all(kind)):
            names = unfinished_jobs(trigger.raw.get("status"))
            if not names or self._store.refused(trigger.ref.namespace, "Job"):
                continue
            known = {job.ref.name for job in self._store.jobs_of(trigger.uid)} | self._vanished.keys()
            for name, source in names.items():
                if name in known:
                    continue
                key = (trigger.uid, name)
                seen[key] = since.get(key, now)
                if now - seen[key] < _LOST_S or reads >= _LOST_READS:
                    continue
                reads += 1
                if await self._is_deleted(trigger, source, name):
                    self._vanish(name, "Gone")
                    self._again.add(trigger.uid)
                    log.info("job.gone", namespace=trigger.ref.namespace, job=name)
        return seen

    async def _is_deleted(self, trigger: Snapshot, source: str, name: str) -> bool:
        try:
            return await self._job_deleted(trigger, source, name)
        except ApiError as error:
            log.debug("job.delayed", namespace=trigger.ref.namespace, job=name, error=str(error))
            return False

    async def _give_ttl(self, jobs: Mapping[str, Snapshot], since: dict[str, float], fence: Fence, now: float) -> None:
        """A settled Job gets its TTL, 15 s later at the earliest: older than any POST still under way."""
        for uid in [uid for uid in since if uid not in jobs]:
            del since[uid]
        orphans = 0
        for uid, snapshot in jobs.items():
            view: JobView = snapshot.model
            owner = self._owner(snapshot)
            if not self._may_end(snapshot, owner):
                continue
            if now - since.setdefault(uid, now) < _TTL_AFTER_SETTLING_S:
                continue
            if owner is None:
                orphans += 1
                if orphans > _ORPHANS:
                    continue
                if not await self._is_gone(snapshot):
                    since[uid] = now
                    continue
            fence.check()
            patch: list[dict[str, Any]] = [
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": view.ttl_s},
            ]
            try:
                self._store.observe(await self._api.patch(snapshot.ref, patch, timeout_s=self._request_timeout_s))
            except ApiError as error:
                since[uid] = now
                log.debug("job.delayed", namespace=snapshot.ref.namespace, job=snapshot.ref.name, error=str(error))

    def _may_end(self, job: Snapshot, owner: Owner[Snapshot] | None) -> bool:
        """Whether a Job lacks a TTL and may have one: settled, or of a trigger that this replica does not know."""
        view: JobView = job.model
        if view.has_ttl or view.ttl_s is None or view.deleting or view.run is None:
            return False
        return owner.settled if owner is not None else self._store.trigger(view.run.trigger_uid) is None

    async def _is_gone(self, snapshot: Snapshot) -> bool:
        """Whether its trigger is gone, live: a cache that is behind must not let an unsettled Job vanish."""
        try:
            return await self._trigger_gone(snapshot)
        except ApiError:
            return False


def _last_jobs(trigger: Snapshot) -> dict[str, Any]:
    """`lastJob` of each source, as the status has it."""
    entries = (trigger.raw.get("status") or {}).get("checkedSources")
    found = entries.items() if isinstance(entries, dict) else ()
    return {name: entry.get("lastJob") for name, entry in found if isinstance(entry, dict)}


def _said(trigger: Snapshot) -> tuple[object, ...]:
    """All that showing looks at in a trigger; the rest of its status changes with each delivery."""
    status = trigger.raw.get("status") or {}
    return (trigger.generation, _last_jobs(trigger), status.get("state"), status.get("conditions"))
