"""The condition Ready of a Notifier: whether its receiver accepted the last message, and what to do if not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeWriter
from git_events_runner.errors import ApiError
from git_events_runner.resources.conditions import Reason
from git_events_runner.rules.ledger.mutations import rfc3339

log = structlog.get_logger(target="notifications")

_MESSAGE_CHARS = 600


class NotifierConditions:
    """Writes the condition where it changed, with an Event when messages are not accepted."""

    def __init__(self, *, api: KubeWriter, store: Store, announcer: EventRecorder, now: Callable[[], datetime]) -> None:
        self._api = api
        self._store = store
        self._announcer = announcer
        self._now = now

    async def write(self, notifier: Snapshot, reason: str, message: str) -> None:
        """Record the result of a message. A failure is logged, and made up for by the next message."""
        ready = "True" if reason == Reason.DELIVERED else "False"
        known = _known(notifier)
        wanted = {
            "type": "Ready",
            "status": ready,
            "reason": reason,
            "message": message[:_MESSAGE_CHARS],
            "observedGeneration": notifier.generation,
        }
        if all(known.get(name) == value for name, value in wanted.items()):
            return
        same = known.get("status") == ready and isinstance(known.get("lastTransitionTime"), str)
        wanted["lastTransitionTime"] = known["lastTransitionTime"] if same else rfc3339(self._now())
        body = {
            "metadata": {"uid": notifier.uid},
            "status": {"conditions": [wanted], "observedGeneration": notifier.generation},
        }
        try:
            self._store.observe(await self._api.patch(notifier.ref, body, subresource="status", strict=True))
        except ApiError as error:
            ref = notifier.ref
            log.warning(
                "status.failed",
                kind=ref.kind,
                namespace=ref.namespace,
                name=ref.name,
                error=str(error),
                reason=error.reason,
            )
        if ready == "False":
            self._announcer.publish(notifier.ref, notifier.uid, kind="Warning", reason=reason, note=message)


def _known(notifier: Snapshot) -> dict[str, Any]:
    status = notifier.raw.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    found = [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []
    return next((one for one in found if one.get("type") == "Ready"), {})
