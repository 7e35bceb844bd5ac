"""Problems of waiting Jobs, reported on their triggers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import ApiError
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.ledger.mutations import Outcome, rfc3339
from git_events_runner.rules.ledger.report import Problem, Report, Warn

log = structlog.get_logger(target="queue")

_WRITE_S = 10.0  # a Job that is reported has one of the concurrent requests


class Reports:
    """Writes a condition, and publishes an Event."""

    def __init__(self, *, writer: StatusWriter, announcer: EventRecorder, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._announcer = announcer
        self._now = now

    async def report(self, owner: Owner[Snapshot], problem: Problem) -> None:
        """Report a problem of a source on its trigger, if the trigger names the source or records its runs."""
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
            async with asyncio.timeout(_WRITE_S):
                await self._writer.write(trigger.ref, trigger.uid, report)
        except (ApiError, TimeoutError) as error:
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error) or "timed out")

    async def warn(self, owner: Owner[Snapshot], reason: str, message: str) -> bool:
        """Write a warning about a source, and publish an Event if it is new; False: the status was not written."""
        trigger = owner.trigger
        if not (owner.named or owner.entry.exists):
            return True
        warning = Warn(reason=reason, source=owner.source, message=message)
        try:
            async with asyncio.timeout(_WRITE_S):
                [outcome] = await self._writer.write(trigger.ref, trigger.uid, warning)
        except (ApiError, TimeoutError) as error:
            log.warning("status.failed", kind=trigger.ref.kind, name=trigger.ref.name, error=str(error) or "timed out")
            return False
        if outcome is Outcome.WRITE:
            self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason=reason, note=message)
        return True
