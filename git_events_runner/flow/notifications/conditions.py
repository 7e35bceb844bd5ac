"""The conditions of a Notifier: whether its receiver accepted the last message, and which triggers it does not report.

`Ready` has what to do if the last message was not accepted. `Limited` is there while a trigger that the Notifier
selects has too many Notifiers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeWriter
from git_events_runner.errors import ApiError
from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.notifications.selection import NOTIFIERS_MAX

from .unwritten import log_unwritten

_MESSAGE_CHARS = 600
READY, LIMITED = "Ready", "Limited"


class NotifierConditions:
    """Writes a condition where it changed, with an Event when messages are not sent."""

    def __init__(self, *, api: KubeWriter, store: Store, announcer: EventRecorder, now: Callable[[], datetime]) -> None:
        self._api = api
        self._store = store
        self._announcer = announcer
        self._now = now
        self._one = asyncio.Lock()  # the conditions of an object are one field, which one request replaces

    async def write(self, notifier: Snapshot, reason: str, message: str) -> None:
        """Record the result of a message. A failure is logged, and made up for by the next message."""
        await self._put(notifier, READY, "True" if reason == Reason.DELIVERED else "False", reason, message)

    async def limited(self, notifier: Snapshot, triggers: list[Ref]) -> None:
        """Record which triggers a Notifier selects and does not report; none: the condition is removed."""
        if triggers:
            more = f" and {len(triggers) - 1} more" if len(triggers) > 1 else ""
            text = (
                f"{triggers[0]}{more}: more than {NOTIFIERS_MAX} Notifiers select it, and this one does not report it; "
                "remove Notifiers, or narrow spec.triggers"
            )
            await self._put(notifier, LIMITED, "True", Reason.TOO_MANY_NOTIFIERS, text)
        elif _known(notifier, LIMITED):
            await self._replace(notifier, LIMITED, [])

    async def _put(self, notifier: Snapshot, kind: str, status: str, reason: str, message: str) -> None:
        known = _known(notifier, kind)
        wanted = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message[:_MESSAGE_CHARS],
            "observedGeneration": notifier.generation,
        }
        if all(known.get(name) == value for name, value in wanted.items()):
            return
        same = known.get("status") == status and isinstance(known.get("lastTransitionTime"), str)
        wanted["lastTransitionTime"] = known["lastTransitionTime"] if same else rfc3339(self._now())
        await self._replace(notifier, kind, [wanted])
        if reason != Reason.DELIVERED:
            self._announcer.publish(notifier.ref, notifier.uid, kind="Warning", reason=reason, note=message)

    async def _replace(self, notifier: Snapshot, kind: str, wanted: list[dict[str, Any]]) -> None:
        """Write the conditions with those of one type replaced."""
        async with self._one:
            present = self._store.get(notifier.ref)
            if present is None or present.uid != notifier.uid:
                return
            others = [one for one in _conditions(present) if one.get("type") != kind]
            body = {
                "metadata": {"uid": notifier.uid},
                "status": {"conditions": [*others, *wanted], "observedGeneration": notifier.generation},
            }
            try:
                self._store.observe(await self._api.patch(notifier.ref, body, subresource="status", strict=True))
            except ApiError as error:
                log_unwritten(notifier.ref, error)


def _conditions(notifier: Snapshot) -> list[dict[str, Any]]:
    status = notifier.raw.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []


def _known(notifier: Snapshot, kind: str) -> dict[str, Any]:
    return next((one for one in _conditions(notifier) if one.get("type") == kind), {})
