"""Which Notifiers report a run, and whether a message is to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from git_events_runner.resources.kinds import GROUP, SOURCES, TRIGGERS
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.identity import Found, Objects, Owner
from git_events_runner.rules.jobs.lifecycle import RunJob
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.references import source_of

from .commit_status import serves
from .marks import is_reported
from .report import CANCELLED, FINAL, RunReport, state_of, why_of

OLDEST = timedelta(hours=24)
TTL_WAITS = timedelta(hours=1)
NOTIFIERS_MAX = 25  # of one trigger: what its Jobs and its status record of them stays within its bounds
TRIGGER_DELETED = "its trigger was deleted"


class Notifying(Protocol):
    """A Notifier or ClusterNotifier as the store has it."""

    @property
    def ref(self) -> Ref:
        """Its kind, namespace and name."""

    @property
    def uid(self) -> str:
        """Its uid."""

    @property
    def generation(self) -> int:
        """The generation of its spec."""

    @property
    def model(self) -> Any:
        """The parsed object; None when it is not valid."""


def report_of(job: Found, owner: Owner[Any], objects: Objects[Any]) -> RunReport | None:
    """A Job as it is reported now; None: nothing is reported of it (v0.4's, or without commit or source)."""
    return report_of_run(RunJob.of(job, owner, objects), objects)


def report_of_run(run: RunJob, objects: Objects[Any]) -> RunReport | None:
    """The Job of a run as it was seen last; None: nothing is reported of it."""
    view, trigger = run.view, objects.get(run.trigger)
    if run.number is None or not view.commit or trigger is None or trigger.model is None:
        return None
    uri = _uri_of(trigger, run.source, objects)
    if uri is None:
        return None
    return _report(run, run.number, view.commit, uri, why_of(run.job, view, run.source))


def orphan_report(job: Found, objects: Objects[Any]) -> RunReport | None:
    """A Job whose trigger was deleted, by its own words; None: its trigger exists, or nothing is reported of it.

    Any user may write such a Job, so it counts only while no trigger has that name: what is reported of the runs of a
    trigger that exists cannot be changed by it.
    """
    view = job.model
    run, kind = view.run, view.trigger_kind
    if run is None or not view.commit or kind not in TRIGGERS or objects.trigger(run.trigger_uid) is not None:
        return None
    trigger = Ref(kind, job.ref.namespace, view.trigger_name)
    uri = _uri(str(view.labels.get(f"{GROUP}/source-kind")), job.ref.namespace, run.source, objects)
    if objects.get(trigger) is not None or uri is None:
        return None
    found = RunJob(
        job=job.ref,
        uid=job.uid,
        view=view,
        trigger=trigger,
        trigger_uid=run.trigger_uid,
        source=run.source,
        number=run.number,
        labels={},
    )
    return _report(found, run.number, view.commit, uri, None)


def _report(run: RunJob, number: int, commit: str, uri: str, why: str | None) -> RunReport:
    view = run.view
    return RunReport(
        state=state_of(view),
        trigger=run.trigger,
        trigger_uid=run.trigger_uid,
        source=run.source,
        number=number,
        job=run.job,
        job_uid=run.uid,
        commit=commit,
        repo_uri=uri,
        attempt=str(view.attempt),
        why=why,
        created_at=view.created_at,
        started_at=view.started_at,
        ended_at=view.ended_at,
    )


def lost_report(trigger: Any, source: str, job: str, objects: Objects[Any]) -> RunReport | None:
    """The last run of a source, by what the trigger's status records of its Job; None: it is another one.

    The uid of its Job is not recorded: its name, which follows from the run, is in place of it.
    """
    status = trigger.raw.get("status")
    entry = entry_of(status, source)
    uri = _uri_of(trigger, source, objects) if trigger.model is not None else None
    if entry.job_name != job or uri is None:
        return None
    last = status["checkedSources"][source]["lastJob"]
    commit = last.get("commit") or entry.commit
    if not isinstance(commit, str):
        return None
    return RunReport(
        state=CANCELLED,
        trigger=trigger.ref,
        trigger_uid=trigger.uid,
        source=source,
        number=entry.runs,
        job=Ref("Job", trigger.ref.namespace, job),
        job_uid=job,
        commit=commit,
        repo_uri=uri,
    )


def _uri_of(trigger: Any, source: str, objects: Objects[Any]) -> str | None:
    return _uri(trigger.model.spec.sources.kind, trigger.ref.namespace, source, objects)


def _uri(kind: str, namespace: str | None, source: str, objects: Objects[Any]) -> str | None:
    found = objects.get(named(kind, namespace, source_of(source))) if kind in SOURCES else None
    return found.model.spec.repo_uri if found is not None and found.model is not None else None


def concerned(
    notifiers: Iterable[Any], trigger: Ref, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> list[Any]:
    """The Notifiers that report runs of a trigger with these labels, in a namespace with those.

    Of too many the ClusterNotifiers, and then the oldest: a mark that had no room would be sent again and again.
    """
    return _selecting(notifiers, trigger, labels, namespace_labels)[:NOTIFIERS_MAX]


def left_out(
    notifiers: Iterable[Any], trigger: Ref, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> list[Any]:
    """The Notifiers that select a trigger and do not report it, because there are too many."""
    return _selecting(notifiers, trigger, labels, namespace_labels)[NOTIFIERS_MAX:]


def _selecting(
    notifiers: Iterable[Any], trigger: Ref, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> list[Any]:
    """Those that select a trigger; if there are too many, the ones that report it are the first."""
    found = [
        each
        for each in notifiers
        if each.model is not None
        and each.ref.namespace in {None, trigger.namespace}
        and each.model.spec.selects(labels, namespace_labels)
    ]
    return found if len(found) <= NOTIFIERS_MAX else sorted(found, key=_precedence)


def _precedence(notifier: Any) -> tuple[bool, float, str]:
    created_at = notifier.model.metadata.created_at
    return notifier.ref.namespace is not None, created_at.timestamp() if created_at else 0.0, notifier.uid


def is_due(notifier: Notifying, report: RunReport, mark: str | None, now: datetime) -> bool:
    """Whether a message is to be sent: the Notifier reports this state, and it was not reported.

    Runs that ended before the Notifier was created are not reported, nor those that ended a day ago.
    """
    spec, created_at = notifier.model.spec, notifier.model.metadata.created_at
    if report.state not in spec.reported or is_reported(mark, report.state, notifier.generation):
        return False
    ended_at = report.ended_at
    if ended_at is not None and ((created_at is not None and ended_at < created_at) or now - ended_at > OLDEST):
        return False
    return spec.commit_status is None or serves(spec.commit_status, report.repo_uri)


def keeps_job(notifier: Notifying, report: RunReport, mark: str | None, now: datetime) -> bool:
    """Whether a Job is needed for a message: its end is still to be reported, for an hour after it at most."""
    if report.state not in FINAL:
        spec = notifier.model.spec
        ends = FINAL.intersection(spec.reported)
        return bool(ends) and (spec.commit_status is None or serves(spec.commit_status, report.repo_uri))
    recent = report.ended_at is None or now - report.ended_at < TTL_WAITS
    return recent and is_due(notifier, report, mark, now)
