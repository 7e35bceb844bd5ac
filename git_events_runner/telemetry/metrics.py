"""Metrics: one object with its own registry (docs/metrics.md lists every metric, and a test compares the two)."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version as installed_version
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest

from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.ref import Ref
from git_events_runner.telemetry.git_metrics import GitMetrics
from git_events_runner.telemetry.notification_metrics import NotificationMetrics
from git_events_runner.telemetry.trigger_series import CountedSeries, Described, Detail, Family, Timed, TriggerSeries

_M = TypeVar("_M", Counter, Gauge, Histogram, Family)
_RECONCILE_S = (0.001, 0.01, 0.1, 0.5, 1, 2)
_WEBHOOK_S = (0.001, 0.01, 0.1, 0.5, 1)
_CHECK_S = (0.1, 1, 2, 5, 10, 30, 60)
_LATE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 20)
_WAITING_S = (0.1, 0.5, 1, 2, 5, 10, 20, 60)
_COMPLETED_S = (1, 5, 10, 30, 60, 120, 300)
_ROLES = ("trigger_kind", "trigger_name", "source_kind", "source_name", "action_kind", "action_name")


class Metrics:
    """Every metric, by what happened. Labels name existing objects only; series go with their object (`forget`)."""

    def __init__(self, *, prefix: str, detail: Detail = Detail.SUMS) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._prefix = prefix
        self._all: list[Counter | Gauge | Histogram | Family] = []
        self._series = TriggerSeries(prefix=prefix, detail=detail)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return self._note(Counter(f"{prefix}_{name}", text, labels, registry=self.registry))

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return self._note(Gauge(f"{prefix}_{name}", text, labels, registry=self.registry))

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return self._note(Histogram(f"{prefix}_{name}", text, labels, buckets=buckets, registry=self.registry))

        def family(*labels: str, counters: tuple[CountedSeries, ...], timed: Timed | None = None) -> Family:
            return self._note(self._series.family(*labels, counters=counters, timed=timed))

        trigger = ("namespace", "trigger_kind", "trigger_name")
        self._reconciled = family(
            *("namespace", "resource_kind", "resource_name"),
            counters=(
                CountedSeries(name="reconcile_count", text="Reconciliations of ScheduleTriggers"),
                CountedSeries(name="failed_reconcile_count", text="Reconciliations that failed"),
            ),
            timed=Timed(name="reconcile_duration_seconds", text="Duration of reconciliations", bounds=_RECONCILE_S),
        )
        self._checked = family(
            *trigger,
            counters=(CountedSeries(name="trigger_check_count", text="Checks of triggers' sources"),),
            timed=Timed(name="trigger_check_duration_seconds", text="Duration of checks", bounds=_CHECK_S),
        )
        self._check_late_s = histogram(
            "check_start_delay_seconds", "Time from a scheduled time to the start of its check", _LATE_S
        )
        self._hooked = family(
            *("namespace", "trigger_name", "status"),
            counters=(CountedSeries(name="webhook_requests_count", text="Requests to webhooks"),),
            timed=Timed(
                name="webhook_requests_duration_seconds",
                text="Duration of webhook requests",
                bounds=_WEBHOOK_S,
                labels=("status",),
            ),
        )
        self._limit = gauge("jobs_queue_limit", "Jobs that may run at the same time (maxRunningJobs)")
        self._waiting = gauge("jobs_queue_waiting", "Jobs that wait for a slot")
        self._running = gauge("jobs_queue_running", "Jobs that hold a slot")
        self._not_starting = gauge(
            "jobs_not_starting", "Jobs without a ready or ended pod for 10 min, or suspended again for that", *trigger
        )
        self._waiting_too_long = gauge(
            "jobs_waiting_too_long",
            "Newest runs of a source that have waited for a slot longer than jobWaitingTimeoutSeconds",
            *trigger,
        )
        self._waited_s = histogram(
            "jobs_queue_waiting_duration_seconds", "Time that Jobs waited for a slot", _WAITING_S
        )
        self._ended = family(
            *("namespace", *_ROLES, "status"),
            counters=(CountedSeries(name="jobs_queue_completed_count", text="Jobs that ended"),),
            timed=Timed(
                name="jobs_queue_completed_duration_seconds",
                text="Duration of Jobs, from their start to their end",
                bounds=_COMPLETED_S,
                labels=("status",),
            ),
        )
        retried = CountedSeries(name="jobs_retried", text="Failed runs that were run again (spec.retry)", in_v04=False)
        self._retried = family(*trigger, counters=(retried,))
        self._verdicts = counter("check_verdicts", "Checks by verdict", "verdict")
        self._changes_waiting = gauge(
            "changes_waiting", "Sources with a change that waits for its run (on the leader), by result", "verdict"
        )
        self._failures = counter("check_failures", "Checks that could not be decided, by reason", "reason")
        missed = CountedSeries(
            name="missed_webhook", text="Commits that a schedule found and no delivery announced", in_v04=False
        )
        self._missed = family(*trigger, counters=(missed,))
        requeued = CountedSeries(
            name="jobs_requeued", text="Jobs that did not start and were suspended again", in_v04=False
        )
        self._requeued = family(*trigger, counters=(requeued,))
        self._certificate_valid = gauge("certificate_valid", "Whether the newest TLS certificate could be used")
        self._certificate_end = gauge(
            "certificate_expiry_timestamp_seconds", "When the TLS certificate that serves webhooks expires (0: no TLS)"
        )
        self._is_leader = gauge("leading", "Whether this replica is the leader")
        self._config_valid = gauge("runtime_config_valid", "Whether the ConfigMap's runtime config could be read")
        self._status_writes = counter("status_writes", "Writes of triggers' statuses")
        self._loop_late_s = histogram("event_loop_lag_seconds", "How late a task of this process is woken", _LAG_S)
        self._log_dropped = counter("log_lines_dropped", "Log lines that could not be written to standard output")
        self._clock_skew = gauge(
            "clock_skew_seconds", "How far this machine's clock is ahead of the API server's (negative: behind)"
        )
        self._not_served = gauge(
            "namespaces_not_served", "Namespaces that are to be served and cannot be read: Missing or Refused", "reason"
        )
        self._restored = counter("cluster_restores", "Ends of the process because the API server's data was set back")
        self._edge_failures = counter("api_failures", "Failed background requests to the API server", "kind")
        self.git = GitMetrics(counter=counter, histogram=histogram)
        self.notifications = NotificationMetrics(counter=counter, gauge=gauge)
        build = gauge("build_info", "Version of the program and of Python; always 1", "version", "python")
        build.labels(installed_version("git-events-runner"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)  # process_cpu_seconds_total, process_resident_memory_bytes, …
        self._counts_shown: dict[Gauge, set[tuple[str, str, str]]] = {}
        self._is_leader.set(0)
        self._config_valid.set(1)
        self._certificate_valid.set(1)

    def _note(self, metric: _M) -> _M:
        self._all.append(metric)
        return metric

    def described(self) -> list[Described]:
        """Every metric, in the order of the documentation."""
        found: list[Described] = []
        for metric in self._all:
            if isinstance(metric, Family):
                found += metric.described(self._prefix)
                continue
            kind = (
                "histogram" if isinstance(metric, Histogram) else "counter" if isinstance(metric, Counter) else "gauge"
            )
            name = metric._name + ("_total" if kind == "counter" else "")  # noqa: SLF001  no public name for it
            labels = tuple(metric._labelnames)  # noqa: SLF001  no public name for it
            found.append(Described(name=name, type=kind, labels=labels, text=metric._documentation))  # noqa: SLF001
        return found

    def reconcile_finished(self, ref: Ref, seconds: float, *, failed: bool) -> None:
        """A ScheduleTrigger was reconciled."""
        columns = (0, 1) if failed else (0,)
        self._reconciled.add(ref, (ref.namespace or "", ref.kind, ref.name), *columns, seconds=seconds)

    def check_started(self, late_s: float) -> None:
        """The check of a schedule's occurrence began, so long after its scheduled time."""
        self._check_late_s.observe(late_s)

    def check_finished(self, ref: Ref, seconds: float, verdict: str) -> None:
        """A check came to its end."""
        self._checked.add(ref, (ref.namespace or "", ref.kind, ref.name), 0, seconds=seconds)
        self._verdicts.labels(verdict).inc()

    def changes_waiting(self, verdict: str, number: int) -> None:
        """So many sources have a change that waits here, with that result of their check."""
        self._changes_waiting.labels(verdict).set(number)

    def check_failed(self, ref: Ref, reason: str) -> None:  # noqa: ARG002  the trigger is in the check's own series
        """A check could not be decided."""
        self._failures.labels(reason).inc()

    def webhook_finished(self, namespace: str | None, trigger: str | None, status: int, seconds: float) -> None:
        """A webhook request was answered; None for objects that do not exist."""
        ref = Ref("WebhookTrigger", namespace, trigger) if trigger else None
        self._hooked.add(ref, (namespace or "unknown", trigger or "unknown", str(status)), 0, seconds=seconds)

    def webhook_missed(self, ref: Ref) -> None:
        """The schedule of a webhook's trigger found a commit that no delivery announced."""
        self._missed.add(ref, (ref.namespace or "", ref.kind, ref.name), 0)

    def job_retried(self, ref: Ref) -> None:
        """A failed run of that trigger was run again."""
        self._retried.add(ref, (ref.namespace or "", ref.kind, ref.name), 0)

    def queue(self, limit: int, waiting: int, running: int) -> None:
        """The queue as it is now."""
        self._limit.set(limit)
        self._waiting.set(waiting)
        self._running.set(running)

    def jobs_not_starting(self, counts: Mapping[Ref, int]) -> None:
        """How many Jobs of each trigger do not start; triggers without one have no series."""
        self._show_counts(self._not_starting, counts)

    def jobs_waiting_too_long(self, counts: Mapping[Ref, int]) -> None:
        """How many newest runs of each trigger wait for too long; triggers without one have no series."""
        self._show_counts(self._waiting_too_long, counts)

    def _show_counts(self, gauge: Gauge, counts: Mapping[Ref, int]) -> None:
        shown = {(ref.namespace or "", ref.kind, ref.name): count for ref, count in counts.items()}
        for labels in self._counts_shown.get(gauge, set()) - shown.keys():
            gauge.remove(*labels)
        for labels, count in shown.items():
            gauge.labels(*labels).set(count)
        self._counts_shown[gauge] = set(shown)

    def job_requeued(self, ref: Ref) -> None:
        """A Job of the trigger did not start and was suspended again."""
        self._requeued.add(ref, (ref.namespace or "", ref.kind, ref.name), 0)

    def job_waited(self, seconds: float) -> None:
        """A Job got its slot."""
        self._waited_s.observe(seconds)

    def job_refused(self, ref: Ref) -> None:
        """The API server refused a Job."""
        labels = {f"{GROUP}/trigger-kind": ref.kind, f"{GROUP}/trigger-name": ref.name}
        self.job_ended(labels, ref.namespace or "", "CreateError", None)

    def job_ended(self, labels: Mapping[str, str], namespace: str, status: str, seconds: float | None) -> None:
        """A Job ended: Succeed, Failed, Expired, Deleted or CreateError. `labels` are its tracking labels."""
        roles = [labels.get(f"{GROUP}/{role.replace('_', '-')}", "unknown") for role in _ROLES]
        ref = Ref(roles[0], namespace, roles[1]) if f"{GROUP}/trigger-name" in labels else None
        timed = seconds if status in {"Succeed", "Failed"} else None
        self._ended.add(ref, (namespace, *roles, status), 0, seconds=timed)

    def set_leader(self, *, leader: bool) -> None:
        """Leadership began or ended."""
        self._is_leader.set(int(leader))

    def config_valid(self, *, valid: bool) -> None:
        """The runtime config could (not) be read."""
        self._config_valid.set(int(valid))

    def certificate(self, *, valid: bool, expires_at: float | None = None) -> None:
        """The webhook port's certificate was (not) taken; `expires_at` in seconds of the epoch."""
        self._certificate_valid.set(int(valid))
        if expires_at is not None:
            self._certificate_end.set(expires_at)

    def status_written(self) -> None:
        """A trigger's status was written."""
        self._status_writes.inc()

    def loop_late(self, seconds: float) -> None:
        """A task that was to wake came on so much later."""
        self._loop_late_s.observe(seconds)

    def log_dropped(self, lines: int) -> None:
        """Lines of the log could not be written."""
        self._log_dropped.inc(lines)

    def clock_skew(self, seconds: float) -> None:
        """This machine's clock is so far ahead of the API server's."""
        self._clock_skew.set(seconds)

    def namespaces_not_served(self, reason: str, number: int) -> None:
        """So many namespaces that are to be served cannot be read for that reason."""
        self._not_served.labels(reason).set(number)

    def cluster_restored(self) -> None:
        """The API server's data was set back to an older state."""
        self._restored.inc()

    def edge_failed(self, kind: str) -> None:
        """A background request (watch, lease, Event) failed."""
        self._edge_failures.labels(kind).inc()

    def forget(self, ref: Ref) -> None:
        """A trigger is deleted: its series end."""
        self._series.forget(ref)

    def triggers(self) -> list[Ref]:
        """The triggers that have series; one that was deleted while something of it was under way may come back."""
        return self._series.triggers()

    def pieces(self) -> Iterator[bytes]:
        """The text exposition format, in pieces; may be called in a thread."""
        yield generate_latest(self.registry)
        yield from self._series.render()

    def render(self) -> bytes:
        """The text exposition format in one."""
        return b"".join(self.pieces())
