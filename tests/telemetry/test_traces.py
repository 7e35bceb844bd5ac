"""Traces against a real OTLP collector over gRPC on loopback."""

import contextlib
import time
import uuid

import pytest
import structlog

from git_events_runner.telemetry.logs import configure_logging
from git_events_runner.telemetry.traces import exporting, root_span_id, trace_id
from tests.telemetry.collector import collecting


@pytest.fixture
def collector():
    """A collector that listens."""
    with collecting() as made:
        yield made


@contextlib.contextmanager
def telling(collector, *, log_filter="info"):
    """A logger whose events are traced."""
    with exporting(f"http://127.0.0.1:{collector.port}", identity="me", version="1") as spans:
        configure_logging(log_filter, json=True, spans=spans)
        yield structlog.get_logger(target="checks")
    structlog.reset_defaults()


def test_a_delivery_and_its_check_are_one_trace(collector):
    """The task id of the 202 is the trace's id, and the check's parent is the delivery."""
    task = str(uuid.uuid4())
    with telling(collector) as log:
        log.info("webhook.accepted", namespace="t", name="hook", status=202, seconds=0.004, task=task)
        log.debug("check.finished", namespace="t", name="hook", verdict="fire-changed", seconds=0.5, task=task)
    by_name = {span.name: span for span in collector.spans}
    root, check = by_name["webhook"], by_name["check"]
    assert root.trace_id == check.trace_id == trace_id(task).to_bytes(16)
    assert root.span_id == check.parent_span_id == root_span_id(task).to_bytes(8)
    assert not root.parent_span_id
    assert check.end_time_unix_nano - check.start_time_unix_nano == 500_000_000
    assert {one.key: one.value.string_value for one in check.attributes}["ger.verdict"] == "fire-changed"
    assert collector.resources[0]["service.instance.id"] == "me"


def test_what_the_filter_drops_is_traced_and_not_printed(collector, capsys):
    """A check that found nothing is a debug line and a span all the same."""
    with telling(collector) as log:
        log.debug("check.finished", verdict="skip-same", seconds=0.1, task=None)
    assert [span.name for span in collector.spans] == ["check"]
    assert capsys.readouterr().out == ""


def test_failures_are_errors(collector):
    """A check that git did not answer ends its span with an error; a refused delivery of a stranger does not."""
    with telling(collector) as log:
        log.debug("check.finished", verdict="git-failed", seconds=0.1, task=None)
        log.info("webhook.rejected", status=403, reason="wrong secret", seconds=0.001, task=str(uuid.uuid4()))
    assert {span.name: span.status.code for span in collector.spans} == {"check": 2, "webhook": 0}


def test_a_collector_that_is_down_costs_nothing(caplog):
    """Nothing is raised, nothing waits, and the end of the process is not held up."""
    started = time.monotonic()
    with exporting("http://127.0.0.1:1", identity="me", version="1") as spans:
        event = {"event": "check.finished", "seconds": 0.1, "verdict": "skip-same"}
        assert spans(None, "debug", event) is event
        assert time.monotonic() - started < 3
    assert time.monotonic() - started < 6
