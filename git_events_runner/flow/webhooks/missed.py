"""Missed deliveries: a commit that a schedule found and no delivery announced, of a trigger that gets deliveries.

A poll may be faster than the forge, so it is evaluated a minute later: by then the trigger's status names the last
delivery. Waiting finds are lost with the process, but they are only a hint to the forge's list of deliveries.
Namespaces have turns, and a bound each, so that the finds of one do not hide those of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from git_events_runner.concurrency.fairness import RoundRobin, Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import ApiError
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.report import Warn
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="webhooks")

_GRACE_S = 60.0
_WAITING_EACH = 200  # in one namespace
_WRITE_S = 10.0

_Key = tuple[Ref, str, str]  # the trigger, its uid, a source


class MissedDeliveries:
    """Evaluates commits that polls found."""

    def __init__(
        self,
        *,
        store: Store,
        writer: StatusWriter,
        announcer: EventRecorder,
        metrics: Metrics,
        now: Callable[[], datetime],
        weight: Weight,
        grace_s: float = _GRACE_S,
    ) -> None:
        self._store = store
        self._writer = writer
        self._announcer = announcer
        self._metrics = metrics
        self._now = now
        self._grace_s = grace_s
        self._waiting: dict[str, int] = {}
        self._submitted: RoundRobin[tuple[datetime, CheckRequest, str]] = RoundRobin(weight=weight)
        self._came = asyncio.Event()
        self._weight = weight
        self._unwritten: dict[_Key, Warn] = {}

    def note(self, request: CheckRequest, commit: str) -> None:
        """A poll found a new commit."""
        namespace = request.trigger.namespace or ""
        if self._waiting.get(namespace, 0) < _WAITING_EACH:
            self._waiting[namespace] = self._waiting.get(namespace, 0) + 1
            found = self._now(), request, commit
            asyncio.get_running_loop().call_later(self._grace_s, self._ripe, namespace, found)

    def _ripe(self, namespace: str, found: tuple[datetime, CheckRequest, str]) -> None:
        self._submitted.put(namespace, found)
        self._came.set()

    async def run(self) -> None:
        """Evaluate each find after the grace period, until cancelled; a failing status write delays no other."""
        writes = Handover(self._write, weight=self._weight, limit_s=_WRITE_S)
        async with working(writes):
            while True:
                while (taken := self._submitted.pop()) is None:
                    self._came.clear()
                    await self._came.wait()
                namespace, (found_at, request, commit) = taken
                self._waiting[namespace] -= 1
                if not self._waiting[namespace]:
                    del self._waiting[namespace]
                warn = self._warning_of(request, commit, since=found_at - timedelta(seconds=self._grace_s))
                if warn is not None:
                    key = (request.trigger, request.uid, request.source)
                    self._unwritten[key] = warn
                    writes.put(namespace, key)

    def _warning_of(self, request: CheckRequest, commit: str, *, since: datetime) -> Warn | None:
        """Report a missed delivery; the warning for the status."""
        ref = request.trigger
        snapshot = self._store.get(ref)
        if snapshot is None or snapshot.uid != request.uid:
            return None
        announced = entry_of(snapshot.raw.get("status"), request.source).announced
        at = timestamp(announced.at) if announced else None
        if announced and (announced.commit == commit or (at is not None and at >= since)):
            return None  # announced, or a delivery about the same time that may have named another push's commit
        self._metrics.webhook_missed(ref)
        message = f"the schedule found {commit[:12]}, which no delivery announced; see the forge's list of deliveries"
        fields = {"namespace": ref.namespace, "name": ref.name, "source": request.source, "commit": commit}
        log.warning("webhook.missed", **fields)
        note = f"source {request.source}: {message}"
        self._announcer.publish(ref, request.uid, kind="Warning", reason="WebhookMissed", note=note)
        return Warn(reason="WebhookMissed", source=request.source, message=message)

    async def _write(self, key: _Key) -> bool:
        """Write the last warning of a source, once: a delivery may clear it at any time."""
        ref, uid, _ = key
        warn = self._unwritten.pop(key, None)
        if warn is not None:
            try:
                await self._writer.write(ref, uid, warn)
            except ApiError as error:
                log.warning("status.failed", kind=ref.kind, namespace=ref.namespace, name=ref.name, error=str(error))
        return True
