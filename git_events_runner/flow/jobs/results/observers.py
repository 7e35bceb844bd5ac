"""Reports of what happens to Jobs: a log line, the metrics of the contract, Events on Job and trigger."""

from __future__ import annotations

import structlog

from git_events_runner.edges.ports import EventRecorder
from git_events_runner.rules.check_result import words_of
from git_events_runner.rules.jobs.lifecycle import DELETED, FAILED, SUCCEEDED, JobEnded, JobEvent, JobSuspended, RunJob
from git_events_runner.rules.jobs.run_end import COMMIT_CHARS, ended
from git_events_runner.rules.overtaken import REPLACED, SUPERSEDED
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="results")

# Values of the metric's label.
_STATUS = {
    SUCCEEDED: "Succeed",
    FAILED: "Failed",
    DELETED: "Deleted",
    SUPERSEDED: SUPERSEDED,
    REPLACED: REPLACED,
}


class JobLog:
    """One line per end, and per suspension by another party."""

    def observe(self, event: JobEvent) -> None:
        """Log it."""
        run = event.run
        match event:
            case JobEnded(result="Succeeded" | "Failed"):
                self._finished(event)
            case JobEnded(result="Deleted"):
                log.info("job.cancelled", namespace=run.job.namespace, job=run.job.name)
            case JobEnded(result="Superseded"):
                log.info("job.superseded", namespace=run.job.namespace, job=run.job.name)
            case JobEnded(result="Replaced"):
                log.info("job.replaced", namespace=run.job.namespace, job=run.job.name)
            case JobSuspended():
                log.info("job.suspended", namespace=run.job.namespace, job=run.job.name)

    def _finished(self, event: JobEnded) -> None:
        run, view = event.run, event.run.view
        level = log.info if event.result == SUCCEEDED else log.warning
        level(
            "job.finished",
            kind=run.trigger.kind,
            namespace=run.trigger.namespace,
            name=run.trigger.name,
            source=run.source,
            job=run.job.name,
            commit=(view.commit or "")[:COMMIT_CHARS] or None,
            reason=view.reason if words_of(view.reason) else None,
            result=event.result,
            exit_code=view.failure.exit_code if view.failure else None,
            error=ended(run.job, view, run.source).error,
            seconds=event.seconds,
        )


class JobMetrics:
    """Counts ends, except those that the queue causes and counts itself."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def observe(self, event: JobEvent) -> None:
        """Count it."""
        if isinstance(event, JobEnded) and event.result in _STATUS:
            run = event.run
            self._metrics.job_ended(run.labels, run.job.namespace or "", _STATUS[event.result], event.seconds)


class JobEvents:
    """Events on the trigger; those of a failed clone, and of a suspension, on the Job too."""

    def __init__(self, announcer: EventRecorder) -> None:
        self._announcer = announcer

    def observe(self, event: JobEvent) -> None:
        """Publish Events of it."""
        run = event.run
        match event:
            case JobEnded(result="Succeeded" | "Failed"):
                self._finished(run)
            case JobEnded(result="Deleted") if run.number is not None:
                note = f"Job {run.job.name} was deleted before it ended; its change does not run again"
                self._announcer.publish(run.trigger, run.trigger_uid, kind="Warning", reason="JobCancelled", note=note)
            case JobEnded(result="Superseded"):
                self._overtaken(
                    run, SUPERSEDED, "it was deleted before it started (concurrency QueueLatest or Replace)"
                )
            case JobEnded(result="Replaced"):
                self._overtaken(run, REPLACED, "it was stopped (concurrency Replace)")
            case JobSuspended():
                self._suspended(run)

    def _overtaken(self, run: RunJob, reason: str, how: str) -> None:
        note = f"Job {run.job.name}: a newer run of source {run.source} runs instead, {how}"
        self._announcer.publish(run.trigger, run.trigger_uid, kind="Normal", reason=reason, note=note)

    def _finished(self, run: RunJob) -> None:
        end = ended(run.job, run.view, run.source)
        if run.view.clone_exit is not None:
            self._announcer.publish(run.job, run.uid, kind=end.kind, reason=end.reason, note=end.note)
        if run.number is not None:
            self._announcer.publish(run.trigger, run.trigger_uid, kind=end.kind, reason=end.reason, note=end.note)

    def _suspended(self, run: RunJob) -> None:
        note = (
            f"Job {run.job.name} was suspended by another party; its run waits until that Job's spec.suspend is "
            "set to false, git-events-runner does not resume it"
        )
        for ref, uid in ((run.trigger, run.trigger_uid), (run.job, run.uid)):
            self._announcer.publish(ref, uid, kind="Normal", reason="JobSuspended", note=note)
