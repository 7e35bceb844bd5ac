"""What liveness expects of the program: answers of the API server, and a log that can be written."""

from __future__ import annotations

from functools import partial

from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.lease import Lease
from git_events_runner.flow.utility import Health
from git_events_runner.telemetry.log_stream import LogStream
from git_events_runner.telemetry.metrics import Metrics

_RESPONSE_S = 900.0  # longer than an API server is away for an upgrade: a new start would not bring it back
_LOG_S = 300.0  # so long standard output may be full or unread


def expect_responses(health: Health, name: str, watched: Informer | Lease) -> None:
    """Liveness ends when its requests have had no answer for long, independent of other requests."""
    problem = "the API server has not answered for"
    health.expect(f"{name}, answers", partial(getattr, watched, "answered_at"), _RESPONSE_S, problem=problem)


def follow_log(logs: LogStream | None, metrics: Metrics, health: Health) -> None:
    """Count the lines that cannot be written; liveness ends when that lasts."""
    if logs is not None:
        logs.on_drop = metrics.log_dropped
        health.expect("log", logs.moved_at, _LOG_S, problem="standard output cannot be written for")
