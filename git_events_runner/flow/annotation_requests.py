"""Annotations that request a check or a run: the leader records them in the status, then submits checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import ApiError, ApiNotFound, FenceLost
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import AnnotatedRequest, RecordRequest, requests_of
from git_events_runner.rules.ledger.mutations import Outcome, rfc3339
from git_events_runner.rules.messages import CheckRequest, Fence

log = structlog.get_logger(target="requests")

_BACKOFF_S = (1.0, 30.0)
_LONGEST_S = 10.0  # a write that takes longer must not keep its slot


class AnnotatedRequests:
    """Handles each token of each trigger once, each trigger by itself: a refused status delays no other trigger."""

    def __init__(
        self,
        *,
        store: Store,
        writer: StatusWriter,
        submit: Callable[[CheckRequest], None],
        announcer: EventRecorder,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._store = store
        self._writer = writer
        self._submit = submit
        self._announcer = announcer
        self._now = now
        self._weight = weight
        self._reported: dict[Ref, tuple[str, str]] = {}  # uid and problem, so that each is reported once
        self._slices = Slices()

    async def run_as_leader(self, fence: Fence) -> None:
        """Handle tokens until leadership ends."""
        self._reported.clear()

        async def handle(ref: Ref) -> bool:
            return await self._handle(ref, fence)

        handling = Handover(handle, weight=self._weight, limit_s=_LONGEST_S, backoff_s=_BACKOFF_S)
        with self._store.subscribe(*TRIGGERS) as changes:
            refs = {trigger.ref for kind in TRIGGERS for trigger in self._store.all(kind)}
            async with working(handling):
                while True:
                    for ref in refs:
                        await self._slices.rest()
                        trigger = self._store.get(ref)
                        if trigger is None:
                            self._reported.pop(ref, None)
                        elif _requests(trigger):
                            handling.put(ref.namespace, ref)
                    await changes.wait()
                    refs = changes.drain()

    async def _handle(self, ref: Ref, fence: Fence) -> bool:
        """Handle the request of one trigger; False: retry."""
        trigger = self._store.get(ref)
        if trigger is None:
            return True
        try:
            wanted = [one for one in _requests(trigger) if not self._is_wrong(trigger, one)]
            return all([await self._record(trigger, one, fence) for one in wanted])
        except ApiNotFound:
            return True
        except ApiError as error:
            log.warning("request.unrecorded", **_fields(trigger), error=str(error), reason=error.reason)
            return False
        except FenceLost:
            raise
        except Exception:  # a bug in the handling of one trigger must not end the others
            log.exception("trigger.crashed", kind=ref.kind, namespace=ref.namespace, name=ref.name)
            return True

    async def _record(self, trigger: Snapshot, one: AnnotatedRequest, fence: Fence) -> bool:
        """Record a request and submit its checks; False: another token was handled meanwhile."""
        fence.check()
        mutation = RecordRequest(request=one, at=rfc3339(self._now()))
        outcomes = await self._writer.write(trigger.ref, trigger.uid, mutation)
        if outcomes[0] is not Outcome.WRITE:
            return outcomes[0] is Outcome.DONE
        keys = mutation.keys(trigger.raw.get("status"))
        log.info("request.recorded", **_fields(trigger), token=one.token, run=one.run, sources=keys)
        for source in keys:
            request = CheckRequest(trigger=trigger.ref, uid=trigger.uid, source=source, due_at=None, fence=fence)
            self._submit(request)
        return True

    def _is_wrong(self, trigger: Snapshot, one: AnnotatedRequest) -> bool:
        """Whether the annotations are invalid; this is reported once per trigger and problem."""
        if one.problem is None:
            return False
        if self._reported.get(trigger.ref) != (trigger.uid, one.problem):
            self._reported[trigger.ref] = (trigger.uid, one.problem)
            log.warning("request.invalid", **_fields(trigger), run=one.run, error=one.problem)
            self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason="RequestInvalid", note=one.problem)
        return True


def _requests(trigger: Snapshot) -> tuple[AnnotatedRequest, ...]:
    if trigger.model is None:
        return ()
    return requests_of(trigger.raw["metadata"], trigger.raw.get("status"), trigger.model.spec.sources.names)


def _fields(trigger: Snapshot) -> dict[str, Any]:
    return {"kind": trigger.ref.kind, "namespace": trigger.ref.namespace, "name": trigger.ref.name}
