"""Records a delivery: first in the trigger's status, then its checks are submitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from git_events_runner.edges.kube.store import Store
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.mutations import Count, Outcome, rfc3339
from git_events_runner.rules.ledger.report import Warn
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.rules.problems import warnings_of
from git_events_runner.rules.pull_requests import PullRecord


class DeliveryRecorder:
    """The recorder of webhooks: a request is in the status before its check is submitted."""

    def __init__(
        self, *, store: Store, writer: StatusWriter, submit: Callable[[CheckRequest], None], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._writer = writer
        self._submit = submit
        self._now = now

    async def count(
        self,
        trigger: Ref,
        uid: str,
        requests: Mapping[str, str | None],
        *,
        task: str,
        warning: str | None,
        pulls: Mapping[str, PullRecord],
    ) -> bool:
        """Record one delivery per source (with the commit announced for it), then submit the checks.

        `pulls` is what it reports of pull requests, by key.
        False: it was recorded before (also by our write whose response was lost, hence the checks).

        Raises:
            ApiError: It is not recorded, or that is unknown.
        """
        count = Count(requests=requests, delivery=delivery_hash(task), at=rfc3339(self._now()), pulls=pulls)
        known = self._store.get(trigger)
        warnings: list[Warn] = []
        if warning or (known and warnings_of(known.raw.get("status"))):
            warnings.append(Warn(reason="WebhookSecretShort", source=None, message=warning))
            warnings += [Warn(reason="WebhookMissed", source=source, message=None) for source in requests]
        outcomes = await self._writer.write(trigger, uid, count, *warnings)
        for source in requests:
            self._submit(CheckRequest(trigger=trigger, uid=uid, source=source, due_at=None, fence=None, tasks=(task,)))
        return outcomes[0] is Outcome.WRITE
