"""The cancelled runs that wait for their message, in the statuses of the Notifiers (`rules/notifications/cancelled`).

Only the leader writes them; what it has written since it became the leader is in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeWriter
from git_events_runner.errors import ApiConflict, ApiError, ApiNotFound, ApiTooManyRequests, ApiUnavailable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.notifications.cancelled import (
    ENDED,
    FIELD,
    record_of,
    records_of,
    report_from,
    without_past,
)
from git_events_runner.rules.notifications.report import RunReport

from .unwritten import log_unwritten

_Records = dict[str, dict[str, Any]]  # by the uid of the Job


class Cancellations:
    """Records cancelled runs, one request for a Notifier at a time; runs that come meanwhile share the next one."""

    def __init__(
        self, *, api: KubeWriter, store: Store, request_timeout_s: float, now: Callable[[], datetime], weight: Weight
    ) -> None:
        self._api = api
        self._store = store
        self._request_timeout_s = request_timeout_s
        self._now = now
        self._weight = weight
        self._records: dict[str, _Records] = {}  # by the uid of the Notifier
        self._locks: dict[str, asyncio.Lock] = {}
        self._unwritten: set[str] = set()
        self._writes: Handover[Ref] = Handover(self._write)

    def begin(self) -> Handover[Ref]:
        """The writes of a leadership, to be run while it lasts."""
        self._writes = Handover(self._write, weight=self._weight)
        return self._writes

    def end(self) -> None:
        """Leadership ends: another replica writes."""
        self._records.clear()
        self._locks.clear()
        self._unwritten.clear()

    async def record(self, notifier: Snapshot, report: RunReport) -> None:
        """Write the record of a run that is about to be cancelled.

        A Notifier that cannot be written (an old CRD, a missing role) does not delay runs: it is logged.

        Raises:
            ApiError: The API server gave no answer, or the Notifier was changed at the same time: try again.
        """
        self._add(notifier, report)
        try:
            await self._flush(notifier.ref, notifier.uid)
        except (ApiUnavailable, ApiTooManyRequests, ApiConflict):
            raise
        except ApiError as error:
            log_unwritten(notifier.ref, error)

    def put(self, notifier: Snapshot, report: RunReport) -> None:
        """Have the record of a cancelled run written, unless it exists."""
        if self._add(notifier, report):
            self._writes.put(notifier.ref.namespace, notifier.ref)

    def mark(self, notifier: Snapshot, job_uid: str) -> str | None:
        """What was sent of a cancelled run."""
        found = self._of(notifier).get(job_uid, {}).get("mark")
        return found if isinstance(found, str) else None

    def has_other(self, notifier: Snapshot, report: RunReport) -> bool:
        """Whether a run whose Job's uid is not known is recorded under that uid already."""
        records = self._of(notifier)
        place = report.job.namespace, report.job.name
        known = any((one.get("namespace"), one.get("job")) == place for one in records.values())
        return known and report.job_uid == report.job.name and report.job_uid not in records

    def sent(self, notifier: Snapshot, job_uid: str, mark: str) -> None:
        """Record that the message of a cancelled run was accepted or refused."""
        found = self._of(notifier).get(job_uid)
        if found is not None:
            found |= {"mark": mark, "sent": rfc3339(self._now())}
            self._changed(notifier)

    def waiting(self, notifier: Snapshot) -> list[RunReport]:
        """The cancelled runs whose Jobs are deleted; the record of a Job that ended after all is closed."""
        found = []
        for uid, record in self._of(notifier).items():
            job = self._store.by_uid("Job", uid)
            report = report_from(record) if job is None and record.get("mark") != ENDED else None
            if report is not None:
                found.append(report)
            elif job is not None and job.model.finished and "mark" not in record:
                self.sent(notifier, uid, ENDED)
        return found

    def _changed(self, notifier: Snapshot) -> None:
        self._unwritten.add(notifier.uid)
        self._writes.put(notifier.ref.namespace, notifier.ref)

    def _of(self, notifier: Snapshot) -> _Records:
        known = self._records.get(notifier.uid)
        if known is None:
            known = self._records[notifier.uid] = records_of(notifier.raw.get("status"))
        return known

    def _add(self, notifier: Snapshot, report: RunReport) -> bool:
        records = self._of(notifier)
        if report.job_uid in records:
            return False
        records[report.job_uid] = record_of(report)
        self._unwritten.add(notifier.uid)
        return True

    async def _write(self, ref: Ref) -> bool:
        notifier = self._store.get(ref)
        if notifier is None:
            return True
        try:
            await self._flush(ref, notifier.uid)
        except ApiNotFound:
            return True
        except ApiError as error:
            log_unwritten(ref, error)
            return False
        return True

    async def _flush(self, ref: Ref, uid: str) -> None:
        async with self._locks.setdefault(uid, asyncio.Lock()):
            notifier = self._store.get(ref)
            if uid not in self._unwritten or notifier is None or notifier.uid != uid:
                return
            self._unwritten.discard(uid)
            stored = records_of(notifier.raw.get("status"))
            known = self._records[uid]
            kept = without_past({**{key: one for key, one in stored.items() if key not in known}, **known}, self._now())
            self._records[uid] = {key: kept[key] for key in kept}
            body = {
                "metadata": {"uid": uid, "resourceVersion": str(notifier.version)},
                "status": {FIELD: list(kept.values())},
            }
            try:
                found = await self._api.patch(
                    ref, body, subresource="status", strict=True, timeout_s=self._request_timeout_s
                )
            except BaseException:
                self._unwritten.add(uid)
                raise
            self._store.observe(found)
