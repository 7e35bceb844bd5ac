"""Retries of failed runs: the leader creates their Jobs when the back-off is over (rules/jobs/retry)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.changes import PREVIOUS_VARIABLE
from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner, owner_of
from git_events_runner.rules.jobs.retry import RETRY, next_attempt, retry_at
from git_events_runner.rules.messages import Fence, RetryOf, RunOrder, RunResult
from git_events_runner.rules.problems import Problem
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.waits import WaitPolicy
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="retries")

_LONGEST_SLEEP_S = 15.0
_GATHER_S = 0.1
_INVALID = timedelta(seconds=15)
_UNRECORDED_S = 1.0  # a run that is not settled yet is settled soon


class Reader(Protocol):
    """Reads an object live."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The current object."""


class PolicyGate(Protocol):
    """The objects that a run needs, under the current policy."""

    def resolve(self, trigger: Any, source: str) -> Resolved | Problem:
        """The objects of a run of that source, or why there may be none."""

    def waits_of(self, trigger: Any) -> WaitPolicy | Problem | None:
        """What makes changes of a trigger (its model) wait, or why its fields cannot be used."""

    def closed_until(self, trigger: Any) -> datetime | None:
        """Outside the windows: when runs may start."""


class Runs(Protocol):
    """Creates Jobs."""

    async def make(self, order: RunOrder) -> RunResult | Problem:
        """Create the Job of an order, and settle it."""


class EventRecorder(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one asynchronously."""


class Retries:
    """Follows the failed Jobs that may be retried while this replica is the leader."""

    def __init__(
        self,
        *,
        reader: Reader,
        store: Store,
        gate: PolicyGate,
        runs: Runs,
        announcer: EventRecorder,
        most: Callable[[], int],
        metrics: Metrics,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`most` is how many retries of a run the runtime config allows."""
        self._reader = reader
        self._store = store
        self._gate = gate
        self._runs = runs
        self._announcer = announcer
        self._most = most
        self._metrics = metrics
        self._now = now
        self._weight = weight
        self._slices = Slices()
        self._failed: dict[Ref, datetime | None] = {}  # Jobs that may have to be retried, and when

    async def run_as_leader(self, fence: Fence) -> None:
        """Create retries until leadership ends."""

        async def retry(ref: Ref) -> bool:
            return await self._retry(ref, fence)

        self._failed.clear()
        waiting = Handover(retry, weight=self._weight)
        with self._store.subscribe("Job") as changes:
            async with working(waiting):
                await self._note(snapshot.ref for snapshot in self._store.all("Job"))
                while True:
                    sleep_s = await self._put_due(waiting)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(sleep_s):
                            await changes.wait()
                            await asyncio.sleep(_GATHER_S)
                    await self._note(changes.drain())

    async def _note(self, jobs: Any) -> None:
        """Keep those of the Jobs that failed and may be retried."""
        for ref in jobs:
            await self._slices.rest()
            if self._open(ref) is not None:
                self._failed.setdefault(ref, None)

    def _open(self, ref: Ref) -> tuple[Snapshot, Owner[Snapshot]] | None:
        """A failed Job that is to be retried, and its owner."""
        job = self._store.get(ref)
        if job is None or job.model.result != "Failed":
            return None
        owner = owner_of(job, self._store)
        if owner is None or next_attempt(job.model, owner, most=self._most()) is None:
            return None
        return job, owner

    def _retry_at(self, job: Snapshot, owner: Owner[Snapshot]) -> datetime | None:
        """When that Job is run again, by the trigger's windows and times; None: it is not known yet."""
        model, now = owner.trigger.model, self._now()
        waits = self._gate.waits_of(model)
        if isinstance(waits, Problem):
            return now + _INVALID  # the trigger's condition names the field
        return retry_at(job.model, owner, waits=waits, closed_until=self._gate.closed_until(model), now=now)

    async def _put_due(self, waiting: Handover[Ref]) -> float:
        """Submit the Jobs whose retry time has passed; how long to sleep until the next one.

        Other Jobs cost one comparison: each is read again at its time.
        """
        now, sleep_s = self._now(), _LONGEST_SLEEP_S
        for ref, known in list(self._failed.items()):
            at = known
            if at is None or at <= now:
                await self._slices.rest()
                found = self._open(ref)
                if found is None:
                    self._failed.pop(ref, None)
                    continue
                at = self._failed[ref] = self._retry_at(*found)
            if at is None:
                sleep_s = min(sleep_s, _UNRECORDED_S)
            elif at <= now:
                waiting.put(ref.namespace, ref)
            else:
                sleep_s = min(sleep_s, (at - now).total_seconds())
        return sleep_s

    async def _retry(self, ref: Ref, fence: Fence) -> bool:
        """Create the retry of a failed Job, if it is still to be retried; False: try again later."""
        found = self._open(ref)
        at = self._retry_at(*found) if found is not None else None
        if found is None or at is None or at > self._now():
            return True
        fence.check()
        sent_at = asyncio.get_running_loop().time()
        try:
            live = await self._reader.get(ref)
        except ApiNotFound:
            return True
        except ApiError:
            return False
        self._store.observe(live)
        return await self._create(ref, live, sent_at, fence)

    async def _create(self, ref: Ref, live: Mapping[str, Any], sent_at: float, fence: Fence) -> bool:
        found = self._open(ref)
        if found is None or found[0].uid != live["metadata"].get("uid"):
            return True
        job, owner = found
        view: JobView = job.model
        trigger, attempt = owner.trigger, next_attempt(view, owner, most=self._most())
        if attempt is None or not view.commit:
            return True
        resolved = self._gate.resolve(trigger.model, owner.source)
        if isinstance(resolved, Problem):
            return False
        order = RunOrder(
            trigger=trigger.ref,
            uid=trigger.uid,
            generation=trigger.generation,
            entry=owner.entry,
            source=owner.source,
            resolved=resolved,
            commit=view.commit,
            file_hash=view.file_hash,
            reason=RETRY,
            request=None,
            due_at=None,
            sent_at=sent_at,
            tasks=(),
            deliveries="",
            fence=fence,
            author=view.author,
            subject=view.subject,
            retry=RetryOf(attempt=attempt, previous_commit=_previous_commit(live)),
        )
        try:
            result = await self._runs.make(order)
        except ApiError as error:
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        if result is RunResult.SETTLED:
            self._report(job, owner, f"attempt {attempt.number} of {attempt.most}")
        return result in {RunResult.SETTLED, RunResult.DROPPED}

    def _report(self, job: Snapshot, owner: Owner[Snapshot], attempt: str) -> None:
        trigger = owner.trigger
        log.info("job.retried", namespace=job.ref.namespace, job=job.ref.name, source=owner.source, attempt=attempt)
        self._metrics.job_retried(trigger.ref)
        note = f"Job {job.ref.name} failed, so source {owner.source} runs again at the same commit: {attempt}"
        self._announcer.publish(trigger.ref, trigger.uid, kind="Normal", reason="JobRetried", note=note)


def _previous_commit(job: Mapping[str, Any]) -> str | None:
    """The commit before the one that a Job runs, as its init container got it."""
    pod = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    variables = [variable for one in pod.get("initContainers") or () for variable in one.get("env") or ()]
    found = next((one.get("value") for one in variables if one.get("name") == PREVIOUS_VARIABLE), None)
    return found if found and not found.startswith("none:") else None
