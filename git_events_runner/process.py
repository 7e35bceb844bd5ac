"""The process of `git-events-runner run`: its log, its signals, its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from importlib.metadata import version

import structlog

from git_events_runner.app import controller
from git_events_runner.c_heap import limit_c_heap
from git_events_runner.edges.kube.client import Client
from git_events_runner.errors import ConfigError, GitEventsRunnerError, TaskEnded, bug_report, single
from git_events_runner.garbage import FrozenSurvivors
from git_events_runner.settings import Settings
from git_events_runner.telemetry.log_stream import LogStream
from git_events_runner.telemetry.logs import configure_logging
from git_events_runner.telemetry.traces import exporting

log = structlog.get_logger(target="app")

_LOG_END_S = 2.0
_SWITCH_S = 0.001  # after which a busy thread of a pool lets the loop continue; the default is five times as long


async def _serve(settings: Settings, logs: LogStream, survivors: FrozenSurvivors) -> None:
    """Run until SIGTERM or SIGINT."""
    stop, started = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def stay() -> None:
        async with Client.connect(settings.kubeconfig) as client, controller(settings, client, logs=logs):
            survivors.loaded()
            started.set()
            await stop.wait()

    working, stopping = asyncio.ensure_future(stay()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not started.is_set() and not working.done():
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


def main(settings: Settings) -> int:
    """Run the controller until it is signalled to stop; the exit code.

    Raises:
        ConfigError: It cannot start as configured.
    """
    logs = LogStream(1)
    try:
        return _run(settings, logs)
    finally:
        logs.finish(_LOG_END_S)


def _run(settings: Settings, logs: LogStream) -> int:
    import uvloop

    sys.setswitchinterval(_SWITCH_S)
    limit_c_heap()
    try:
        with contextlib.ExitStack() as stack:
            spans = None
            if settings.otlp_endpoint:
                spans = stack.enter_context(
                    exporting(settings.otlp_endpoint, identity=settings.identity, version=version("git-events-runner"))
                )
            configure_logging(settings.log_filter, json=settings.json_logs, color=False, spans=spans, stream=logs)
            survivors = stack.enter_context(FrozenSurvivors())
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            runner.run(_serve(settings, logs, survivors))
    except ConfigError:
        raise
    except Exception as failed:  # noqa: BLE001  the border of the program: reported in one line
        first = single(failed)
        if isinstance(first, ConfigError):
            raise first from None
        expected = isinstance(first, GitEventsRunnerError) and not isinstance(first, TaskEnded)
        log.critical("controller.failed", error=str(first) if expected else bug_report(first))
        return 1
    return 0
