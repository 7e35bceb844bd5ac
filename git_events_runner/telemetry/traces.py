"""Traces over OTLP: the canonical log events that carry `seconds` become spans, independent of the log filter.

A task id (what a 202 answers with) is the trace's id, so a delivery and its checks are one trace. The libraries are
imported only where an endpoint is set; spans are sent by their own thread, a collector that is down costs nothing.
https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol

from git_events_runner.rules.check_result import CheckResult

SPANS = {
    "webhook.accepted": "webhook",
    "webhook.rejected": "webhook",
    "check.finished": "check",
    "job.admitted": "job.wait",
    "job.finished": "job",
}
_ROOT = "webhook"
_ERRORS = frozenset(result.value for result in CheckResult if result.is_error)
_NS = 1_000_000_000
_EXPORT_S = 2  # also what a collector that is down may add to the time that a stop takes


class Processor(Protocol):
    """A structlog processor."""

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any], /) -> MutableMapping[str, Any]:
        """Give the event on."""


def trace_id(task: str) -> int | None:
    """The trace of a task id, 128 bits; None when it is no UUID.

    >>> hex(trace_id("00000000-0000-4000-8000-0000000000ff"))
    '0x400080000000000000ff'
    """
    with contextlib.suppress(ValueError):
        return uuid.UUID(task).int or None
    return None


def root_span_id(task: str) -> int:
    """The id of the span of the delivery itself, 64 bits, so that later spans can name it as their parent."""
    return int.from_bytes(hashlib.sha256(task.encode()).digest()[:8]) or 1


@contextmanager
def exporting(endpoint: str, *, identity: str, version: str) -> Iterator[Processor]:
    """A processor that turns events into spans and sends them to `endpoint` (gRPC) while entered.

    Args:
        endpoint: http(s)://host:port of a collector; http means without TLS.
        identity: This replica (`service.instance.id`).
        version: Of this program (`service.version`).
    """
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
    from opentelemetry.trace.propagation import set_span_in_context

    class Ids(RandomIdGenerator):
        """Random ids, except for a delivery's own span."""

        wanted: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return self.wanted[0] if self.wanted else super().generate_trace_id()

        def generate_span_id(self) -> int:
            return self.wanted[1] if self.wanted else super().generate_span_id()

    ids = Ids()
    resource = Resource.create(
        {"service.name": "git-events-runner", "service.version": version, "service.instance.id": identity}
    )
    provider = TracerProvider(resource=resource, id_generator=ids)
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=_EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("git_events_runner")

    def emit(name: str, event: Mapping[str, Any]) -> None:
        ended_ns = time.time_ns()
        task = str(event.get("task") or "")
        trace = trace_id(task)
        context = None
        if trace is not None and name != _ROOT:
            parent = SpanContext(trace, root_span_id(task), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            context = set_span_in_context(NonRecordingSpan(parent))
        ids.wanted = (trace, root_span_id(task)) if trace is not None and name == _ROOT else None
        try:
            span = tracer.start_span(
                name,
                context=context,
                kind=SpanKind.SERVER if name == _ROOT else SpanKind.INTERNAL,
                start_time=ended_ns - int(float(event["seconds"]) * _NS),
                attributes={
                    f"ger.{key}": value
                    for key, value in event.items()
                    if isinstance(value, str | int | float) and key not in {"event", "level", "target", "seconds"}
                },
            )
        finally:
            ids.wanted = None
        if _failed(event):
            span.set_status(Status(StatusCode.ERROR, str(event.get("error") or event.get("reason") or "")))
        span.end(ended_ns)

    def process(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        name = SPANS.get(str(event.get("event")))
        if name is not None and isinstance(event.get("seconds"), int | float):
            emit(name, event)
        return event

    try:
        yield process
    finally:
        provider.shutdown()


def _failed(event: Mapping[str, Any]) -> bool:
    """Whether the span's status is an error: a refused delivery, a check that could not be decided, a failed Job."""
    verdict = str(event.get("verdict") or "")
    return (
        (
            event.get("event") == "webhook.rejected" and int(event.get("status") or 0) >= 500  # noqa: PLR2004  HTTP
        )
        or verdict in _ERRORS
        or event.get("result") == "Failed"
    )
