"""Logs and metrics: one closed list of events and fields, one Metrics object with its own registry.

A log event is a constant `noun.past_tense`; docs/logs.md and docs/metrics.md list both, and a test compares them.
"""

from __future__ import annotations

import io
import logging
import platform
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any, TextIO, TypeVar, cast

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from git_events_runner.errors import ConfigError
from git_events_runner.gitmetrics import GitMetrics
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.ref import Ref

_M = TypeVar("_M", Counter, Gauge, Histogram)
LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "off": 60}
_RECONCILE_S = (0.001, 0.01, 0.1, 0.5, 1, 2)
_WEBHOOK_S = (0.001, 0.01, 0.1, 0.5, 1)
_CHECK_S = (0.1, 1, 2, 5, 10, 30, 60)
_LATE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 20)
_WAITING_S = (0.1, 0.5, 1, 2, 5, 10, 20, 60)
_COMPLETED_S = (1, 5, 10, 30, 60, 120, 300)
_ROLES = ("trigger_kind", "trigger_name", "source_kind", "source_name", "action_kind", "action_name")


def parse_filter(text: str) -> tuple[int, dict[str, int]]:
    """The default level and the levels of single targets, from `level` and `target=level` in a comma-separated list.

    >>> parse_filter("info,checks=debug")
    (20, {'checks': 10})

    Raises:
        ConfigError: A level is none of trace, debug, info, warn, error, off.
    """
    default, targets, problems = LEVELS["info"], {}, []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        target, found, level = part.rpartition("=")
        number = LEVELS.get(level.lower())
        if number is None:
            if re.fullmatch(r"[\w:]+", part):
                targets[part.rpartition("::")[2]] = LEVELS["trace"]  # a bare target, as in RUST_LOG
            else:
                problems.append(f"log filter: {part!r} has no level; use one of {', '.join(LEVELS)}")
        elif found:
            targets[target.rpartition("::")[2]] = number
        else:
            default = number
    if problems:
        raise ConfigError(*problems)
    return default, targets


def configure_logging(
    filter_text: str,
    *,
    json: bool,
    color: bool = False,
    spans: Callable[..., Any] | None = None,
    stream: io.TextIOBase | None = None,
) -> None:
    """Set up structlog and the standard library's logging for this process; logs go to `stream`, or standard output.

    `spans` is a processor that sees every event down to debug, also those that the filter drops (`traces`).

    Raises:
        ConfigError: The filter cannot be read.
    """
    default, targets = parse_filter(filter_text)
    lowest = min([default, *targets.values(), *([LEVELS["debug"]] if spans else [])])

    def judge(_: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if (targets or spans) and LEVELS.get(method, 40) < targets.get(str(event.get("target")), default):
            raise structlog.DropEvent
        return event

    renderer: Callable[..., Any]
    if json:
        renderer = structlog.processors.JSONRenderer(
            serializer=lambda value, **_: orjson.dumps(value, default=str).decode()
        )
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=color,
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # others print local variables
        )
    structlog.configure(
        processors=[
            *([spans] if spans else []),
            judge,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(max(lowest, 0)),
        logger_factory=_targets(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it has a line for everything that is no HTTP
    logging.basicConfig(level=max(default, logging.WARNING), handlers=[handler], force=True)


def _unchanged(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


def _targets(stream: io.TextIOBase | None) -> Callable[..., Any]:
    def make(*_: object) -> structlog.WriteLogger:
        return structlog.WriteLogger(cast("TextIO", stream or sys.stdout))

    return make


class _OriginalNames:
    """Exposes counters also under the original's names, without `_total`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            if metric.type != "counter":
                continue
            twin = Metric(metric.name, f"{metric.documentation} (name of the original)", "unknown")
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    twin.add_sample(metric.name, sample.labels, sample.value)
            if metric.name.endswith("_count"):
                yield twin


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A metric for the documentation."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


class Metrics:
    """Every metric, by what happened. Labels name existing objects only; series go with their object (`forget`)."""

    def __init__(self, *, prefix: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._all: list[Counter | Gauge | Histogram] = []
        self._originals = CollectorRegistry()
        self._originals.register(_OriginalNames(self.registry))

        def counter(name: str, text: str, *labels: str) -> Counter:
            return self._note(Counter(f"{prefix}_{name}", text, labels, registry=self.registry))

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return self._note(Gauge(f"{prefix}_{name}", text, labels, registry=self.registry))

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return self._note(Histogram(f"{prefix}_{name}", text, labels, buckets=buckets, registry=self.registry))

        trigger = ("namespace", "trigger_kind", "trigger_name")
        resource = ("namespace", "resource_kind", "resource_name")
        self._reconciled = counter("reconcile_count", "Reconciliations of ScheduleTriggers", *resource)
        self._reconcile_failed = counter("failed_reconcile_count", "Reconciliations that failed", *resource)
        self._reconcile_s = histogram(
            "reconcile_duration_seconds", "Duration of reconciliations", _RECONCILE_S, *resource
        )
        self._checked = counter("trigger_check_count", "Checks of triggers' sources", *trigger)
        self._check_s = histogram("trigger_check_duration_seconds", "Duration of checks", _CHECK_S, *trigger)
        self._check_late_s = histogram(
            "check_start_delay_seconds", "Time from a scheduled time to the start of its check", _LATE_S
        )
        hook = ("namespace", "trigger_name", "status")
        self._hooked = counter("webhook_requests_count", "Requests to webhooks", *hook)
        self._hook_s = histogram("webhook_requests_duration_seconds", "Duration of webhook requests", _WEBHOOK_S, *hook)
        self._limit = gauge("jobs_queue_limit", "Jobs that may run at the same time (maxRunningJobs)")
        self._waiting = gauge("jobs_queue_waiting", "Jobs that wait for a slot")
        self._running = gauge("jobs_queue_running", "Jobs that hold a slot")
        self._not_starting = gauge(
            "jobs_not_starting", "Jobs that hold a slot, but for 10 min no pod of them was ready or ended", *trigger
        )
        self._waited_s = histogram(
            "jobs_queue_waiting_duration_seconds", "Time that Jobs waited for a slot", _WAITING_S
        )
        ended = ("namespace", *_ROLES, "status")
        self._ended = counter("jobs_queue_completed_count", "Jobs that ended", *ended)
        self._ended_s = histogram(
            "jobs_queue_completed_duration_seconds",
            "Duration of Jobs, from their start to their end",
            _COMPLETED_S,
            *ended,
        )
        self._verdicts = counter("check_verdicts", "Checks by verdict", "verdict")
        self._failures = counter("check_failures", "Checks that could not be decided, by reason", "reason")
        self._missed = counter("missed_webhook", "Commits that a schedule found and no delivery announced", *trigger)
        self._certificate_valid = gauge("certificate_valid", "Whether the newest TLS certificate could be used")
        self._certificate_end = gauge(
            "certificate_expiry_timestamp_seconds", "When the TLS certificate that serves webhooks expires (0: no TLS)"
        )
        self._leading = gauge("leading", "Whether this replica is the leader")
        self._config_valid = gauge("runtime_config_valid", "Whether the ConfigMap's runtime config could be read")
        self._status_writes = counter("status_writes", "Writes of triggers' statuses")
        self._loop_late_s = histogram("event_loop_lag_seconds", "How late a task of this process is woken", _LAG_S)
        self._log_dropped = counter("log_lines_dropped", "Log lines that could not be written to standard output")
        self._clock_skew = gauge(
            "clock_skew_seconds", "How far this machine's clock is ahead of the API server's (negative: behind)"
        )
        self._edge_failures = counter("api_failures", "Failed background requests to the API server", "kind")
        self.git = GitMetrics(counter=counter, histogram=histogram)
        build = gauge("build_info", "Version of the program and of Python; always 1", "version", "python")
        build.labels(installed_version("git-events-runner"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)  # process_cpu_seconds_total, process_resident_memory_bytes, …
        self._not_starting_shown: set[tuple[str, str, str]] = set()
        self._leading.set(0)
        self._config_valid.set(1)
        self._certificate_valid.set(1)

    def _note(self, metric: _M) -> _M:
        self._all.append(metric)
        return metric

    def described(self) -> list[Described]:
        """Every metric, in the order of the documentation."""
        found = []
        for metric in self._all:
            kind = (
                "histogram" if isinstance(metric, Histogram) else "counter" if isinstance(metric, Counter) else "gauge"
            )
            name = metric._name + ("_total" if kind == "counter" else "")  # noqa: SLF001  no public name for it
            labels = tuple(metric._labelnames)  # noqa: SLF001  no public name for it
            found.append(Described(name=name, type=kind, labels=labels, text=metric._documentation))  # noqa: SLF001
        return found

    def reconcile_finished(self, ref: Ref, seconds: float, *, failed: bool) -> None:
        """A ScheduleTrigger was reconciled."""
        labels = (ref.namespace, ref.kind, ref.name)
        self._reconciled.labels(*labels).inc()
        self._reconcile_failed.labels(*labels).inc(int(failed))
        self._reconcile_s.labels(*labels).observe(seconds)

    def check_started(self, late_s: float) -> None:
        """The check of a schedule's occurrence began, so long after it fell due."""
        self._check_late_s.observe(late_s)

    def check_finished(self, ref: Ref, seconds: float, verdict: str) -> None:
        """A check came to its end."""
        labels = (ref.namespace, ref.kind, ref.name)
        self._checked.labels(*labels).inc()
        self._check_s.labels(*labels).observe(seconds)
        self._verdicts.labels(verdict).inc()

    def check_failed(self, ref: Ref, reason: str) -> None:  # noqa: ARG002  the trigger is in the check's own series
        """A check could not be decided."""
        self._failures.labels(reason).inc()

    def webhook_finished(self, namespace: str | None, trigger: str | None, status: int, seconds: float) -> None:
        """A webhook request was answered; None for objects that do not exist."""
        labels = (namespace or "unknown", trigger or "unknown", str(status))
        self._hooked.labels(*labels).inc()
        self._hook_s.labels(*labels).observe(seconds)

    def webhook_missed(self, ref: Ref) -> None:
        """The schedule of a webhook's trigger found a commit that no delivery announced."""
        self._missed.labels(ref.namespace, ref.kind, ref.name).inc()

    def queue(self, limit: int, waiting: int, running: int) -> None:
        """The queue as it stands."""
        self._limit.set(limit)
        self._waiting.set(waiting)
        self._running.set(running)

    def jobs_not_starting(self, counts: Mapping[Ref, int]) -> None:
        """How many Jobs of each trigger do not start; triggers without one have no series."""
        shown = {(ref.namespace or "", ref.kind, ref.name): count for ref, count in counts.items()}
        for labels in self._not_starting_shown - shown.keys():
            self._not_starting.remove(*labels)
        for labels, count in shown.items():
            self._not_starting.labels(*labels).set(count)
        self._not_starting_shown = set(shown)

    def job_waited(self, seconds: float) -> None:
        """A Job got its place."""
        self._waited_s.observe(seconds)

    def job_refused(self, ref: Ref) -> None:
        """The API server refused a Job."""
        labels = {f"{GROUP}/trigger-kind": ref.kind, f"{GROUP}/trigger-name": ref.name}
        self.job_ended(labels, ref.namespace or "", "CreateError", None)

    def job_ended(self, labels: Mapping[str, str], namespace: str, status: str, seconds: float | None) -> None:
        """A Job ended: Succeed, Failed, Expired, Deleted or CreateError. `labels` are its tracking labels."""
        roles = [labels.get(f"{GROUP}/{role.replace('_', '-')}", "unknown") for role in _ROLES]
        self._ended.labels(namespace, *roles, status).inc()
        if seconds is not None and status in {"Succeed", "Failed"}:
            self._ended_s.labels(namespace, *roles, status).observe(seconds)

    def leading(self, *, leading: bool) -> None:
        """Leadership began or ended."""
        self._leading.set(int(leading))

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

    def edge_failed(self, kind: str) -> None:
        """A background request (watch, lease, Event) failed."""
        self._edge_failures.labels(kind).inc()

    def forget(self, ref: Ref) -> None:
        """A trigger is gone: its series go too."""
        for metric in (
            self._checked,
            self._check_s,
            self._missed,
            self._reconciled,
            self._reconcile_failed,
            self._reconcile_s,
        ):
            metric.remove_by_labels(_labels_of(metric, ref))
        for hooked in (self._hooked, self._hook_s):
            if ref.kind == "WebhookTrigger":
                hooked.remove_by_labels({"namespace": ref.namespace or "", "trigger_name": ref.name})
        for jobs in (self._ended, self._ended_s):
            jobs.remove_by_labels(_trigger_labels(ref))

    def keep(self, triggers: Collection[Ref]) -> None:
        """Series of any other trigger go: one that was deleted while something of it was under way came back."""
        places = {(ref.namespace or "", ref.kind, ref.name) for ref in triggers}
        hooked = {(namespace, name) for namespace, kind, name in places if kind == "WebhookTrigger"}
        for metric in self._all:
            names = metric._labelnames  # noqa: SLF001  no public name for it
            if not {"trigger_name", "resource_name"}.intersection(names):
                continue
            with metric._lock:  # noqa: SLF001  as above
                series = list(metric._metrics)  # noqa: SLF001  as above
            for values in series:
                found = dict(zip(names, values, strict=True))
                name = found.get("trigger_name") or found.get("resource_name")
                kind = found.get("trigger_kind") or found.get("resource_kind")
                if name == "unknown":
                    continue
                here = (found["namespace"], kind, name) in places if kind else (found["namespace"], name) in hooked
                if not here:
                    metric.remove(*values)

    def render(self) -> bytes:
        """The text exposition format, our names and the original's."""
        return generate_latest(self.registry) + generate_latest(self._originals)


def _trigger_labels(ref: Ref) -> dict[str, str]:
    return {"namespace": ref.namespace or "", "trigger_kind": ref.kind, "trigger_name": ref.name}


def _labels_of(metric: Counter | Histogram, ref: Ref) -> dict[str, str]:
    if "resource_kind" in metric._labelnames:  # noqa: SLF001  the library has no public name for it
        return {"namespace": ref.namespace or "", "resource_kind": ref.kind, "resource_name": ref.name}
    return _trigger_labels(ref)
