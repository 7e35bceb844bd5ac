"""Which success is the first one after a failure: `Recovered`, for the Notifiers that list it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.rules.identity import run_of
from git_events_runner.rules.notifications.recovery import follows_failure
from git_events_runner.rules.notifications.report import RECOVERED, SUCCEEDED, RunReport


class Recoveries:
    """Knows of each Job that succeeded whether the run before it failed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, bool] = {}  # by the uid of the Job, whose answer does not change

    def worded(self, notifier: Snapshot, report: RunReport) -> RunReport:
        """The report as a Notifier words it."""
        if report.state != SUCCEEDED or RECOVERED not in notifier.model.spec.reported:
            return report
        found = self._known.get(report.job_uid)
        if found is None:
            found = self._known[report.job_uid] = self._follows_failure(report)
        return replace(report, state=RECOVERED) if found else report

    def keep(self, jobs: Collection[str]) -> None:
        """Forget the Jobs that do not exist any more."""
        self._known = {uid: found for uid, found in self._known.items() if uid in jobs}

    def _follows_failure(self, report: RunReport) -> bool:
        trigger = self._store.get(report.trigger)
        if trigger is None:
            return False
        jobs = self._store.jobs_of(report.trigger_uid, report.source)
        views = [job.model for job in jobs if run_of(job, trigger) is not None]
        return follows_failure(report.number, report.source, views, trigger.raw.get("status"))
