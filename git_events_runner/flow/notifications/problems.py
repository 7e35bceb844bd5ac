"""Messages about problems of triggers: derived from their conditions and from what `status.notified` records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeWriter
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.kinds import NOTIFIERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.derived_conditions import is_ready
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.notifications.problem import (
    NOTIFIED,
    PROBLEM,
    ProblemReport,
    notified_after,
    notified_of,
    problem_due,
)

from .fenced_writes import FencedWrites
from .unwritten import log_unwritten


@dataclass(slots=True, kw_only=True)
class _Unwritten:
    """What receivers know of a trigger, and how many messages it contains."""

    notified: list[dict[str, Any]]
    messages: int = field(default=1)


class Problems:
    """Knows which problems each receiver knows: those that are recorded, and those that are being written."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        store: Store,
        request_timeout_s: float,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._api = api
        self._store = store
        self._request_timeout_s = request_timeout_s
        self._now = now
        self._unwritten: dict[str, _Unwritten] = {}  # by the uid of the trigger
        self._writes = FencedWrites(self._write, weight=weight)

    def begin(self, fence: Fence) -> Handover[tuple[Ref, str]]:
        """The writes of a leadership, to be run while it lasts."""
        self._unwritten.clear()
        return self._writes.begin(fence)

    def is_of_interest(self, trigger: Snapshot) -> bool:
        """Whether a message may be needed: there is a problem, or a receiver knows one."""
        status = self._status(trigger)
        return is_ready(status) is False or any(one.get("open") for one in notified_of(status))

    def due(self, notifiers: Iterable[Snapshot], trigger: Snapshot) -> Iterator[tuple[Snapshot, ProblemReport]]:
        """Each of the Notifiers whose receiver needs a message about a trigger now, with the message."""
        status = self._status(trigger)
        for notifier in notifiers:
            report = problem_due(
                trigger.ref,
                trigger.uid,
                status,
                notifier.uid,
                generation=notifier.generation,
                created_at=notifier.model.metadata.created_at,
                now=self._now(),
            )
            if report is not None and report.state in notifier.model.spec.reported:
                yield notifier, report

    def current(self, notifier: Snapshot, report: ProblemReport) -> ProblemReport | None:
        """The message as it is to be sent now; None: none is needed any more."""
        trigger = self._store.get(report.trigger)
        if trigger is None or trigger.uid != report.trigger_uid:
            return None
        return next((found for _, found in self.due([notifier], trigger)), None)

    def record(self, notifier: Snapshot, report: ProblemReport, *, refused: bool) -> None:
        """Record that a message was accepted, or refused permanently."""
        trigger = self._store.get(report.trigger)
        if trigger is None or trigger.uid != report.trigger_uid:
            return
        after = notified_after(
            self._status(trigger),
            report,
            notifier.uid,
            notifiers=[each.uid for kind in NOTIFIERS for each in self._store.all(kind)],
            refused=notifier.generation if refused else None,
            now=self._now(),
        )
        before = self._unwritten.get(trigger.uid)
        self._unwritten[trigger.uid] = _Unwritten(notified=after, messages=before.messages + 1 if before else 1)
        self._writes.put(trigger.ref, trigger.uid)

    def _status(self, trigger: Snapshot) -> dict[str, Any]:
        status = trigger.raw.get("status")
        found = dict(status) if isinstance(status, dict) else {}
        unwritten = self._unwritten.get(trigger.uid)
        return found if unwritten is None else {**found, NOTIFIED: unwritten.notified}

    async def _write(self, ref: Ref, uid: str, fence: Fence) -> bool:
        waiting, trigger = self._unwritten.get(uid), self._store.get(ref)
        if waiting is None or trigger is None or trigger.uid != uid:
            self._unwritten.pop(uid, None)
            return True
        messages = waiting.messages
        body = {"metadata": {"uid": uid}, "status": {NOTIFIED: waiting.notified or None}}
        fence.check()
        try:
            written = await self._api.patch(
                ref, body, subresource="status", strict=True, timeout_s=self._request_timeout_s
            )
            self._store.observe(written)
        except ApiNotFound:
            pass
        except ApiError as error:
            log_unwritten(ref, error)
            return False
        left = self._unwritten.get(uid)
        if left is not None and left.messages != messages:
            return False
        self._unwritten.pop(uid, None)
        return True


def is_problem(notifiers: Iterable[Snapshot]) -> bool:
    """Whether any of the Notifiers reports problems."""
    return any(each.model is not None and PROBLEM in each.model.spec.reported for each in notifiers)
