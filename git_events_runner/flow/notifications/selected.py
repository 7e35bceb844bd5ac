"""Which Notifiers report what, by the objects in the store."""

from __future__ import annotations

from collections.abc import Mapping

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import NOTIFIERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.notifications.report import RunReport
from git_events_runner.rules.notifications.selection import concerned, left_out, orphan_report, report_of


class Selected:
    """Reads Notifiers, Jobs and triggers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def notifiers(self) -> list[Snapshot]:
        """All Notifiers, also those of the cluster."""
        return [each for kind in NOTIFIERS for each in self._store.all(kind)]

    def concerned(self, notifiers: list[Snapshot], trigger: Ref) -> list[Snapshot]:
        """Those that report a trigger."""
        return concerned(notifiers, trigger, *self._labels(trigger))

    def selects_namespace(self, notifier: Snapshot, trigger: Ref) -> bool:
        """Whether a Notifier reports triggers of that namespace: all that is known of one that was deleted."""
        own = notifier.ref.namespace in {None, trigger.namespace}
        return own and notifier.model is not None and notifier.model.spec.selects_namespace(self._labels(trigger)[1])

    def left_out(self, notifiers: list[Snapshot], trigger: Ref) -> list[Snapshot]:
        """Those that select a trigger and do not report it, because there are too many."""
        return left_out(notifiers, trigger, *self._labels(trigger))

    def _labels(self, trigger: Ref) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """The labels of a trigger and of its namespace."""
        namespace = Ref("Namespace", None, trigger.namespace or "")
        return _labels(self._store.get(trigger)), _labels(self._store.get(namespace))

    def report(self, job: Snapshot) -> RunReport | None:
        """A Job as it is reported now; None: nothing is reported of it."""
        owner = owner_of(job, self._store)
        return report_of(job, owner, self._store) if owner is not None else None

    def orphan(self, job: Snapshot) -> RunReport | None:
        """A Job whose trigger was deleted; None: the trigger exists, or may exist."""
        report = orphan_report(job, self._store)
        return report if report is not None and self.is_without_trigger(report) else None

    def is_overtaken(self, report: RunReport) -> bool:
        """Whether a newer run of the same source and commit exists, whose status is the one of the commit."""
        runs = (job.model for job in self._store.jobs_of(report.trigger_uid, report.source))
        return any(
            view.commit == report.commit and view.run is not None and view.run.number > report.number for view in runs
        )

    def is_without_trigger(self, report: RunReport) -> bool:
        """Whether the trigger of a run was deleted."""
        trigger = report.trigger
        unreadable = self._store.refused(trigger.namespace, trigger.kind)
        return self._store.trigger(report.trigger_uid) is None and not unreadable

    def has_ended(self, report: RunReport) -> bool:
        """Whether the end of a run needs no report of its trigger's deletion: its Job has it, or what observed it."""
        job = self._store.by_uid("Job", report.job_uid)
        return job.model.finished if job is not None else not self._store.refused(report.job.namespace, "Job")


def creation(job: Snapshot) -> tuple[float, str]:
    """What Jobs are sorted by, the oldest first."""
    created_at = job.model.created_at
    return (created_at.timestamp() if created_at is not None else 0.0, job.ref.name)


def _labels(found: Snapshot | None) -> Mapping[str, str]:
    return (found.raw["metadata"].get("labels") or {}) if found is not None else {}
