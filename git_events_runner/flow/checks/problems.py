"""Problems of a check: conditions of its trigger (written only if new), log and metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Problem, Report, is_news
from git_events_runner.rules.messages import CheckRequest, Requeue
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="checks")


class Problems:
    """Reports problems of a source, and of a trigger."""

    def __init__(self, *, store: Store, writer: StatusWriter, metrics: Metrics, now: Callable[[], datetime]) -> None:
        self._store = store
        self._writer = writer
        self._metrics = metrics
        self._now = now

    async def report(self, request: CheckRequest, problem: Problem, again: Requeue | None) -> Requeue | None:
        """Record a problem in the conditions (only if it is new) and the log."""
        snapshot = self._store.get(request.trigger)
        self._metrics.check_failed(request.trigger, problem.reason)
        if snapshot is None or snapshot.uid != request.uid:
            return None
        news = is_news(snapshot.raw.get("status"), request.source, problem)
        if self._store.refused(request.trigger.namespace, request.trigger.kind):
            news = False  # it cannot be written: the namespace is reported instead
        level = log.warning if news else log.debug
        level("check.failed", **log_fields(request), reason=problem.reason, error=problem.message)
        if news:
            report = Report(
                source=request.source, problem=problem, generation=snapshot.generation, now=rfc3339(self._now())
            )
            try:
                await self._writer.write(request.trigger, request.uid, report)
            except ApiNotFound:
                return None
            except ApiError as failed:
                log.warning("status.failed", **log_fields(request), error=str(failed), reason=failed.reason)
        return again

    async def report_trigger(self, request: CheckRequest, snapshot: Snapshot, problem: Problem) -> Requeue | None:
        """Record a problem of the trigger in its conditions; a scheduled time waits until it is solved."""
        report = Report(source=None, problem=problem, generation=snapshot.generation, now=rfc3339(self._now()))
        await self._writer.write(request.trigger, request.uid, report)
        return Requeue() if request.due_at else None


def log_fields(request: CheckRequest) -> dict[str, Any]:
    """The fields of log events about a check."""
    return {
        "kind": request.trigger.kind,
        "namespace": request.trigger.namespace,
        "name": request.trigger.name,
        "source": request.source,
    }
