"""Annotations that request a check or a run: the leader counts them in the status, then submits the checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError, ApiNotFound, FenceLost
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import AnnotatedRequest, RecordRequest, requests_of
from git_events_runner.rules.ledger import Mutation, Outcome, rfc3339
from git_events_runner.rules.messages import CheckRequest, Fence
from git_events_runner.slices import Slices

log = structlog.get_logger(target="requests")

_LONGEST_PAUSE_S = 30.0
_STALE_S = 1.0


class Writer(Protocol):
    """Writes a trigger's status."""

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations; their outcomes."""


class Announcer(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one, some time."""


class AnnotatedRequests:
    """Handles each token of each trigger once, each trigger apart: one whose status is refused delays no other."""

    def __init__(
        self,
        *,
        store: Store,
        writer: Writer,
        submit: Callable[[CheckRequest], None],
        announcer: Announcer,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._writer = writer
        self._submit = submit
        self._announcer = announcer
        self._now = now
        self._handling: set[Ref] = set()
        self._told: dict[Ref, tuple[str, str]] = {}  # uid and problem, so that each is reported once
        self._slices = Slices()

    async def run_leading(self, fence: Fence) -> None:
        """Handle tokens until leadership ends."""
        self._handling.clear()
        self._told.clear()
        with self._store.subscribe(*TRIGGERS) as changes:
            refs = {trigger.ref for kind in TRIGGERS for trigger in self._store.all(kind)}
            async with asyncio.TaskGroup() as group:
                while True:
                    for ref in refs:
                        await self._slices.rest()
                        trigger = self._store.get(ref)
                        if trigger is None:
                            self._told.pop(ref, None)
                        elif ref not in self._handling and _requests(trigger):
                            self._handling.add(ref)
                            group.create_task(self._handle(ref, fence))
                    await changes.wait()
                    refs = changes.take()

    async def _handle(self, ref: Ref, fence: Fence) -> None:
        """Handle what one trigger requests, until nothing is left; a status that cannot be written is tried again."""
        pause_s, done = 1.0, set[AnnotatedRequest]()
        try:
            while (trigger := self._store.get(ref)) is not None:
                wanted = [one for one in _requests(trigger) if one not in done and not self._is_wrong(trigger, one)]
                if not wanted:
                    return
                try:
                    for one in wanted:
                        if await self._record(trigger, one, fence):
                            done.add(one)
                        else:  # another token was handled meanwhile: what is requested now is read again
                            await asyncio.sleep(_STALE_S)
                except ApiNotFound:
                    return
                except ApiError as error:
                    log.warning("request.unrecorded", **_fields(trigger), error=str(error), reason=error.reason)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        except FenceLost:
            raise
        except Exception:  # the border of one trigger: a bug in it must not end the others
            log.exception("trigger.crashed", kind=ref.kind, namespace=ref.namespace, name=ref.name)
        finally:
            self._handling.discard(ref)

    async def _record(self, trigger: Snapshot, one: AnnotatedRequest, fence: Fence) -> bool:
        """Record a request and submit its checks; whether that is done, by this write or another."""
        fence.check()
        outcomes = await self._writer.write(
            trigger.ref, trigger.uid, RecordRequest(request=one, at=rfc3339(self._now()))
        )
        if outcomes[0] is not Outcome.WRITE:
            return outcomes[0] is Outcome.DONE
        log.info("request.recorded", **_fields(trigger), token=one.token, run=one.run, sources=list(one.sources))
        for source in one.sources:
            request = CheckRequest(trigger=trigger.ref, uid=trigger.uid, source=source, due_at=None, fence=fence)
            self._submit(request)
        return True

    def _is_wrong(self, trigger: Snapshot, one: AnnotatedRequest) -> bool:
        """Whether the annotations cannot be followed; that is reported once for each trigger and problem."""
        if one.problem is None:
            return False
        if self._told.get(trigger.ref) != (trigger.uid, one.problem):
            self._told[trigger.ref] = (trigger.uid, one.problem)
            log.warning("request.invalid", **_fields(trigger), run=one.run, error=one.problem)
            self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason="RequestInvalid", note=one.problem)
        return True


def _requests(trigger: Snapshot) -> tuple[AnnotatedRequest, ...]:
    if trigger.model is None:
        return ()
    return requests_of(trigger.raw["metadata"], trigger.raw.get("status"), trigger.model.spec.sources.names)


def _fields(trigger: Snapshot) -> dict[str, Any]:
    return {"kind": trigger.ref.kind, "namespace": trigger.ref.namespace, "name": trigger.ref.name}
