"""Creates a run: the last live read, the POST of its Job, and the record of that Job (steps 4 to 6)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeClient
from git_events_runner.errors import (
    ApiAlreadyExists,
    ApiConflict,
    ApiError,
    ApiForbidden,
    ApiNotFound,
    ApiTooManyRequests,
    ApiUnavailable,
)
from git_events_runner.flow.ports import PolicyGate, StatusWriter
from git_events_runner.resources.job import JobView, RunKey, job_name, text_annotations
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.retry import Attempt
from git_events_runner.rules.check_result import words_of
from git_events_runner.rules.concurrency import limit_of
from git_events_runner.rules.jobs.clone import clone_of
from git_events_runner.rules.jobs.compute_quota import NO_RULES, ComputeRules, needs_values
from git_events_runner.rules.jobs.last_job import unfinished_jobs
from git_events_runner.rules.jobs.manifest import manifest
from git_events_runner.rules.jobs.pod import problems
from git_events_runner.rules.jobs.run import JobDefaults, PullRequestOfRun, Run, Security
from git_events_runner.rules.ledger.entry import entry_of, run_number_after
from git_events_runner.rules.ledger.mutations import Outcome, Settle, rfc3339
from git_events_runner.rules.ledger.report import Problem, Report
from git_events_runner.rules.ledger.reserve import Reserve, is_reserved
from git_events_runner.rules.messages import RunOrder, RunResult
from git_events_runner.rules.references import is_pull, reference_of
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.strangers import is_isolated
from git_events_runner.rules.waits import ShowWaiting
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="runs")

_ANSWER_AGE_S = 60.0
_READ_AGE_S = 5.0
_POST_TIMEOUT_S = 5.0
_ATTEMPTS = 8


class Slots(Protocol):
    """The installation's slots for running Jobs; only the leader gives them."""

    def acquire_slot(self, ref: Ref, limit: ConcurrencyLimit | None = None) -> bool:
        """Take a slot for the Job that is about to be created, which records `limit`; False: create it suspended."""

    def release(self, ref: Ref) -> None:
        """The Job was not created."""

    def confirm(self, ref: Ref) -> None:
        """The Job is in the store now and occupies its slot itself."""


class Compute(Protocol):
    """The quotas of namespaces."""

    async def read(self, namespace: str) -> ComputeRules:
        """What a namespace requires of the containers of a pod."""


class Runs:
    """Makes Jobs. A run exists only in the cluster; this process counts those being created, by namespace."""

    def __init__(
        self,
        *,
        api: KubeClient,
        store: Store,
        gate: PolicyGate,
        writer: StatusWriter,
        slots: Slots,
        compute: Compute,
        announcer: EventRecorder,
        defaults: Callable[[], JobDefaults],
        identity: str,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._store = store
        self._gate = gate
        self._writer = writer
        self._slots = slots
        self._compute = compute
        self._announcer = announcer
        self._defaults = defaults
        self._identity = identity
        self._metrics = metrics
        self._now = now
        self._making: Counter[str | None] = Counter()

    async def make(self, order: RunOrder) -> RunResult | Problem:
        """Create the Job of an order unless its inputs have changed, and settle it.

        Raises:
            ApiError: The API server does not respond; nothing is recorded, so the run is tried again.
            FenceLost: The order was leader work, and this replica is not the leader any more.
        """
        namespace = order.trigger.namespace
        full = self._gate.no_room(order.trigger, order.uid, self._making[namespace])
        if full is not None:
            return full
        self._making[namespace] += 1
        try:
            return await self._make(order)
        finally:
            self._making[namespace] -= 1
            if not self._making[namespace]:
                del self._making[namespace]

    async def _make(self, order: RunOrder) -> RunResult | Problem:
        loop = asyncio.get_running_loop()
        error: ApiError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                after_s = error.retry_after_s if isinstance(error, ApiTooManyRequests) else 0.0
                pause_s = random.uniform(0.05, min(0.1 * 2**attempt, 3.0))  # noqa: S311  jitter
                await asyncio.sleep(max(pause_s, after_s))
            if loop.time() - order.sent_at > _ANSWER_AGE_S:
                return RunResult.RESTART
            try:
                reserved = await self._reserve(order)
                if reserved is not None:
                    return reserved
                read_at = loop.time()
                moved, compute = await asyncio.gather(self._moved_on(order), self._compute_rules(order))
                if moved is not None:
                    return moved
                if loop.time() - read_at > _READ_AGE_S:
                    continue  # slow response, or a stalled process: the Job may have been deleted meanwhile
                if order.fence:
                    order.fence.check()
                return await self._post(order, compute)
            except (ApiConflict, ApiUnavailable, ApiTooManyRequests) as problem:
                error = problem
                log.info("job.delayed", **_fields(order), error=str(problem), reason=problem.reason or "Unavailable")
        if error is None:
            return RunResult.RESTART
        raise error

    async def _moved_on(self, order: RunOrder) -> RunResult | None:
        """Whether a live read of trigger and action matches the decision."""
        try:
            trigger, action = await asyncio.gather(self._api.get(order.trigger), self._api.get(order.resolved.action))
        except ApiNotFound:
            return RunResult.DROPPED if self._store.get(order.trigger) is None else RunResult.RESTART
        self._store.observe(trigger)
        self._store.observe(action)
        if trigger["metadata"]["uid"] != order.uid or trigger["metadata"].get("deletionTimestamp"):
            return RunResult.DROPPED
        same_trigger = trigger["metadata"].get("generation") == order.generation
        resolved = order.resolved
        same_action = (
            action["metadata"]["uid"] == resolved.action_uid
            and action["metadata"].get("generation") == resolved.action_generation
            and not action["metadata"].get("deletionTimestamp")
        )
        entry = entry_of(trigger.get("status"), order.source)
        same_entry = entry.key == order.entry.key and (not _needs_reserving(order) or is_reserved(entry, self._now()))
        return None if same_trigger and same_action and same_entry else RunResult.RESTART

    async def _reserve(self, order: RunOrder) -> RunResult | None:
        """Let the entry of a new reference exist, and stay, before its number is used; None: it does."""
        found = self._store.get(order.trigger)
        if found is None or not _needs_reserving(order):
            return None
        now = self._now()
        if is_reserved(entry_of(found.raw.get("status"), order.source), now):
            return None  # whether it is still the entry that was decided on, the live read shows
        if order.fence:
            order.fence.check()
        try:
            reserve = Reserve(source=order.source, expected=order.entry.key, now=now)
            [outcome] = await self._writer.write(order.trigger, order.uid, reserve)
        except ApiNotFound:
            return RunResult.DROPPED
        return RunResult.RESTART if outcome is Outcome.STALE else None

    async def _compute_rules(self, order: RunOrder) -> ComputeRules:
        """What the namespace requires of the worker, if its Action leaves something open."""
        if not needs_values(order.resolved.action_model.spec.action_job.resources or {}):
            return NO_RULES
        return await self._compute.read(order.trigger.namespace or "")

    async def _post(self, order: RunOrder, compute: ComputeRules) -> RunResult | Problem:
        wrong = self._wrong(order)
        if wrong is not None:
            return wrong
        key = RunKey(trigger_uid=order.uid, source=order.source, number=run_number_after(order.entry))
        name = job_name(order.trigger.name, key)
        ref = Ref("Job", order.trigger.namespace, name)
        trigger = self._store.get(order.trigger)
        if trigger is None or trigger.model is None or trigger.generation != order.generation:
            return RunResult.RESTART
        limit = limit_of(order.trigger, order.source, trigger.model.spec.concurrency)
        starts = self._knows_last(order, limit) and self._slots.acquire_slot(ref, limit)
        body = self._manifest(order, key, name, limit, compute, suspend=not starts)
        try:
            created = await self._api.create(KINDS["Job"], body, timeout_s=_POST_TIMEOUT_S, strict=True)
        except ApiAlreadyExists:
            try:
                return await self._existing(order, key, ref)
            finally:
                self._slots.release(ref)  # only after the Job is known, and occupies its slot itself
        except (ApiUnavailable, asyncio.CancelledError):
            raise  # it may exist: the slot stays taken until the queue has checked
        except ApiError as error:
            self._slots.release(ref)
            if isinstance(error, (ApiConflict, ApiTooManyRequests)):
                raise
            return self._refused(order, error)
        self._store.observe(created)
        self._slots.confirm(ref)
        started = not JobView.of(created).suspended
        log.info("job.created", **_fields(order), job=name, commit=order.commit, reason=order.reason, started=started)
        self._announcer.publish(
            order.trigger,
            order.uid,
            kind="Normal",
            reason="JobCreated",
            note=f"Job {name} runs {order.resolved.action} for source {order.source} at commit {order.commit[:12]} "
            f"({words_of(order.reason) or order.reason})",
        )
        return await self._settle(order, name, created)

    def _knows_last(self, order: RunOrder, limit: ConcurrencyLimit | None) -> bool:
        """Whether the store has the Job of the source's last run, or that one has ended (`last_known` in the model).

        That Job may wait while the cache is stale: the new Job must not start before it.
        """
        if limit is None:
            return True
        found = self._store.get(order.trigger)
        last = unfinished_jobs(found.raw.get("status")) if found is not None else {}
        jobs = (Ref("Job", order.trigger.namespace, name) for name, source in last.items() if source == order.source)
        return all(self._store.get(job) is not None for job in jobs)

    def _wrong(self, order: RunOrder) -> Problem | None:
        """Which of the Action's pod settings are invalid; the API server validates the rest of the Job."""
        defaults, action = self._defaults(), order.resolved.action_model.spec.action_job
        workdir = action.workdir or defaults.workdir
        found = "; ".join(problems(action, workdir=workdir, volume_name=defaults.volume_name))
        if not found:
            return None
        message = f"{order.resolved.action}: {found}"
        self._announcer.publish(order.trigger, order.uid, kind="Warning", reason="InvalidSpec", note=message)
        return Problem(reason="InvalidSpec", message=message, stalled=True)

    async def _settle(self, order: RunOrder, name: str, job: Mapping[str, Any]) -> RunResult:
        settle = Settle.from_job(name, JobView.of(job), now=self._now())
        if settle is None:
            return RunResult.DROPPED
        report = Report(source=order.source, problem=None, generation=order.generation, now=rfc3339(self._now()))
        shown = ShowWaiting(generation=order.generation, now=rfc3339(self._now()))
        ended = (shown,) if order.entry.waiting is not None else ()
        try:
            outcome, *_ = await self._writer.write(order.trigger, order.uid, settle, report, *ended)
        except ApiNotFound:
            return RunResult.DROPPED
        return RunResult.RESTART if outcome is Outcome.STALE else RunResult.SETTLED

    async def _existing(self, order: RunOrder, key: RunKey, ref: Ref) -> RunResult | Problem:
        """Another replica was faster, or another object has the name."""
        try:
            job = await self._api.get(ref)
        except ApiNotFound:
            return RunResult.RESTART
        if JobView.of(job).run == key:
            self._store.observe(job)
            await self._settle(order, ref.name, job)
            return RunResult.RESTART
        message = f"{ref} exists and is not this trigger's; delete or rename it, the run waits for its name"
        self._announcer.publish(order.trigger, order.uid, kind="Warning", reason="JobNameConflict", note=message)
        return Problem(reason="JobNameConflict", message=message)

    def _refused(self, order: RunOrder, error: ApiError) -> RunResult | Problem:
        if isinstance(error, ApiForbidden) and error.namespace_terminating:
            return RunResult.DROPPED
        if isinstance(error, ApiNotFound):
            return RunResult.RESTART  # the namespace is deleted, and soon the trigger
        quota = isinstance(error, ApiForbidden) and "exceeded quota" in str(error)
        reason = "QuotaExceeded" if quota else "JobCreateFailed"
        message = f"the Job was refused and will be tried again: {error}"
        self._metrics.job_refused(order.trigger)
        self._announcer.publish(order.trigger, order.uid, kind="Warning", reason=reason, note=message)
        return Problem(reason=reason, message=message)

    def _manifest(
        self,
        order: RunOrder,
        key: RunKey,
        name: str,
        limit: ConcurrencyLimit | None,
        compute: ComputeRules,
        *,
        suspend: bool,
    ) -> dict[str, Any]:
        resolved = order.resolved
        defaults = self._defaults()
        run = Run(
            name=name,
            key=key,
            trigger=order.trigger,
            watched=resolved.watched,
            commit=order.commit,
            notes=text_annotations(order.author, order.subject),
            action=resolved.action,
            action_uid=resolved.action_uid,
            clone=clone_of(
                resolved,
                order.trigger.namespace or "",
                defaults.host_keys,
                self._pinned(resolved),
                defaults.cloner_bounds,
            ),
            override=resolved.override,
            reason=order.reason,
            occurrence=order.occurrence,
            file_hash=order.file_hash,
            task_ids=order.tasks,
            deliveries=order.deliveries,
            run_request=order.run_request,
            run_token=order.run_token,
            previous_commit=order.previous_commit,
            attempt=order.retry.attempt if order.retry is not None else Attempt(),
            generation=order.generation,
            pull=self._pull_of(order),
            identity=self._identity,
            suspend=suspend,
            concurrency=limit,
            security=self._security(order.trigger.namespace or "", defaults),
            compute=compute,
        )
        return manifest(run, resolved.action_model.spec.action_job, defaults)

    def _pull_of(self, order: RunOrder) -> PullRequestOfRun | None:
        """The pull request that a run is for, by the entry that it was decided on."""
        reference, known = reference_of(order.source), order.entry.pull
        if reference is None or known is None or not is_pull(order.source):
            return None
        isolated = is_isolated(self._gate.policy.fork_pull_requests, known)
        return PullRequestOfRun(number=reference[1], target=known.target, isolated=isolated)

    def _pinned(self, resolved: Resolved) -> tuple[str, ...]:
        """The host keys of the source that is cloned, at this time: this check may have pinned them."""
        found = self._store.get(resolved.cloned.source)
        keys: tuple[str, ...] = found.model.status.host_keys if found is not None and found.model is not None else ()
        return keys

    def _security(self, namespace: str, defaults: JobDefaults) -> Security:
        """The requirements for pods of the namespace."""
        found = self._store.get(Ref("Namespace", None, namespace))
        return Security.of(defaults.pod_security, found.raw["metadata"] if found else {})


def _needs_reserving(order: RunOrder) -> bool:
    """Whether other references can raise the number that the run has: the entry of a source itself stays."""
    return reference_of(order.source) is not None and order.entry.commit is None and order.retry is None


def _fields(order: RunOrder) -> dict[str, Any]:
    return {
        "kind": order.trigger.kind,
        "namespace": order.trigger.namespace,
        "name": order.trigger.name,
        "source": order.source,
    }
