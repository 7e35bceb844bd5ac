"""Jobs that are deleted before they end: recorded as cancelled in the Notifiers that report them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.last_job import GONE
from git_events_runner.rules.notifications.cancelled import cancelled
from git_events_runner.rules.notifications.report import RunReport
from git_events_runner.rules.notifications.selection import is_due, lost_report

from .cancellations import Cancellations
from .selected import Selected


class DeletedJobs:
    """Records them before the controller deletes a Job, or when it finds that another party has."""

    def __init__(
        self, *, store: Store, selected: Selected, cancellations: Cancellations, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._selected = selected
        self._cancellations = cancellations
        self._now = now

    async def cancelling(self, job: Snapshot, result: str) -> None:
        """Record that a Job is about to be deleted before it ends, so that no crash leaves its status pending.

        Raises:
            ApiError: The API server gave no answer: nothing is deleted yet, try again.
        """
        notifiers = self._selected.notifiers()
        report = self._selected.report(job) if notifiers else None
        if report is not None:
            await self._record(notifiers, cancelled(report, result, self._now()))

    async def lost(self, trigger: Snapshot, source: str, name: str) -> list[tuple[Snapshot, RunReport]]:
        """Record that a Job was deleted before it ended, and no leader has seen it; what is to be sent to whom.

        Raises:
            ApiError: The API server gave no answer: try again.
        """
        notifiers = self._selected.notifiers()
        if not notifiers:
            return []
        seen = next(
            (job for job in self._store.recently_deleted() if job.ref == Ref("Job", trigger.ref.namespace, name)), None
        )
        report = self._selected.report(seen) if seen is not None else lost_report(trigger, source, name, self._store)
        if report is None:
            return []
        report = cancelled(report, GONE, self._now())
        return [(notifier, report) for notifier in await self._record(notifiers, report)]

    async def _record(self, notifiers: list[Snapshot], report: RunReport) -> list[Snapshot]:
        """Record a cancelled run; the Notifiers that have no record of it yet, or one whose message waits."""
        found = []
        for notifier in self._selected.concerned(notifiers, report.trigger):
            if self._cancellations.has_other(notifier, report):
                continue
            if is_due(notifier, report, self._cancellations.mark(notifier, report.job_uid), self._now()):
                await self._cancellations.record(notifier, report)
                found.append(notifier)
        return found
