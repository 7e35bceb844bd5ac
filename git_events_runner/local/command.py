"""`git-events-runner local PATH…`: the complete controller on manifests, without a cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import structlog

from git_events_runner.app import Addresses, controller
from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ConfigError, bug_report, single
from git_events_runner.local.apiserver.server import ApiServer, serving
from git_events_runner.local.executor.executor import Executor
from git_events_runner.local.executor.volumes import remove
from git_events_runner.resources.kinds import KINDS, NOTIFIERS, SOURCES, TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import requests_of
from git_events_runner.rules.watch_words import watch_words
from git_events_runner.serving import running
from git_events_runner.settings import Settings
from git_events_runner.telemetry.stdout import discard, failed

from .manifests import Loaded, Manifest, load, one_line
from .narrator import Narrator
from .once import NEVER_AGAIN, Once
from .policy import refusals
from .standins import StandIn, stand_ins
from .state import State, opened

_DEBUG = 10
_LOOPBACK = "127.0.0.1"
_ANNOUNCED = 20
_INTERRUPTED = 130
_MESSAGES_S = 30.0  # with --once: how long messages are waited for
_SOCKET_BYTES = 100  # of a path; Linux takes 107, macOS 103


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """The options of the command line; port 0 takes a free one."""

    paths: Sequence[str]
    webhooks_port: int
    utility_port: int
    once: bool
    keep: bool
    ui: bool = False
    send: bool = False
    state: Path | None = None
    secrets: Sequence[StandIn] = ()


class _Reporter:
    """Reports to the narrator and, with `--once`, to the task that waits for the end."""

    def __init__(self, narrator: Narrator, once: Once) -> None:
        self._narrator = narrator
        self._once = once

    def job_started(self, job: Ref) -> None:
        self._narrator.job_started(job)

    def job_printed(self, job: Ref, line: str) -> None:
        self._narrator.job_printed(job, line)

    def job_ended(self, job: Ref, reason: str, why: str) -> None:
        self._narrator.job_ended(job, reason, why)
        self._once.job_ended(job.name, succeeded=reason == "CompletionsReached")


def main(arguments: argparse.Namespace) -> int:
    """Run until a signal, or with `--once` until all is done; the exit code: 0, 1 (a failure), 130 (Ctrl-C).

    Raises:
        ConfigError: The manifests or the ports are wrong.
    """
    import uvloop

    options = LocalOptions(
        paths=arguments.paths,
        webhooks_port=arguments.webhooks_port,
        utility_port=arguments.utility_port,
        once=arguments.once,
        keep=arguments.keep,
        send=arguments.send,
        ui=arguments.ui,
        state=None if arguments.state is None else Path(arguments.state),
        secrets=stand_ins(arguments.secret or (), os.environ),
    )
    if arguments.ui and arguments.once:
        raise ConfigError("--ui: there is no page with --once, which ends by itself and binds no port; use one of them")
    if options.webhooks_port and options.webhooks_port == options.utility_port:
        raise ConfigError(f"--utility-port: must differ from --webhooks-port (found {options.utility_port} twice)")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(options))
    except BaseExceptionGroup as group:
        wrong = group.subgroup(ConfigError)
        if wrong is None:
            raise
        raise single(wrong) from None


async def _serve(options: LocalOptions) -> int:
    stop = asyncio.Event()
    narrator = Narrator(
        write=partial(_print, closed=stop.set),
        color=_colorful(),
        now=lambda: datetime.now().astimezone(),
        every_check=options.once,
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, narrator],
        wrapper_class=structlog.make_filtering_bound_logger(_DEBUG),
        cache_logger_on_first_use=False,
    )
    signals: set[signal.Signals] = set()
    _on_signals(stop, signals)
    asyncio.get_running_loop().set_exception_handler(partial(_unexpected, narrator))
    async with contextlib.AsyncExitStack() as stack:
        state = None if options.state is None else stack.enter_context(opened(options.state))
        path = await stack.enter_async_context(_socket())
        server = await stack.enter_async_context(serving(path=path))
        loaded = load(options.paths, server, secrets=options.secrets, sends=options.send)
        if refused := [one_line(text) for text in refusals(loaded, {}, None)]:
            raise ConfigError(*refused)
        again = [] if state is None else state.restore(server, now=datetime.now(UTC).isoformat())
        scheduled = _scheduled(loaded.manifests)
        if options.once:
            for trigger, _ in scheduled:
                server.replace_spec(trigger, {"schedule": NEVER_AGAIN})
        once = Once(scheduled, _requested(loaded.manifests, server))
        once.restored(len(again))
        narrator.listen(once.observe)
        async with (
            _folder(options, narrator) as folder,
            _kept(state),
            _working(options, server, path, folder, _Reporter(narrator, once)) as at,
        ):
            _announce(narrator, loaded, None if options.once else at, ui=options.ui, send=options.send)
            for job in again:
                narrator.print(f"job {job.name}: did not end at the last start, runs again")
            await (_first_of(stop.wait(), _finished(once, at)) if options.once else stop.wait())
            if not stop.is_set():
                narrator.print(once.summary, "bad" if once.failed else "good")
            else:
                narrator.stopping(again=state is not None)
    if signal.SIGINT in signals:
        return _INTERRUPTED
    return 1 if options.once and (once.failed or stop.is_set()) else 0


@contextlib.asynccontextmanager
async def _kept(state: State | None) -> AsyncIterator[None]:
    """What `--state` keeps is written after changes, and once more at the end."""
    if state is None:
        yield
        return
    try:
        async with running(state=state.run()):
            yield
    finally:
        state.save()


async def _finished(once: Once, at: Addresses) -> None:
    """All is done, and its messages are printed or sent; a receiver that does not answer is a failure after a while."""
    await once.wait()
    try:
        async with asyncio.timeout(_MESSAGES_S):
            await at.notified()
    except TimeoutError:
        once.not_sent()


def _colorful() -> bool:
    """Colour on a terminal; https://no-color.org and https://force-color.org have the last word."""
    return bool(sys.stdout.isatty() or os.environ.get("FORCE_COLOR")) and not os.environ.get("NO_COLOR")


def _print(line: str, *, closed: Callable[[], None]) -> None:
    """Print a line; if the reader closes the pipe (`| head`), `closed` is called, and what follows is dropped."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard()
        closed()
    except OSError as error:
        discard()
        failed(error)
        closed()


def _unexpected(narrator: Narrator, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """A bug outside of every task: one line; the program continues."""
    error = context.get("exception")
    narrator.print(bug_report(error) if error is not None else f"internal error: {context.get('message')}", "bad")


def _on_signals(stop: asyncio.Event, seen: set[signal.Signals]) -> None:
    """SIGINT and SIGTERM, noted in `seen`, stop in order; a second one ends the program immediately."""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        seen.add(number)
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)


async def _first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of several to return; the others are cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in coroutines]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def _socket() -> AsyncIterator[Path | None]:
    """Where the API server listens: a socket that only this user can reach; None where no path is short enough."""
    with tempfile.TemporaryDirectory(prefix="git-events-runner-") as folder:
        path = Path(folder) / "api"
        yield path if len(os.fsencode(path)) <= _SOCKET_BYTES else None


@contextlib.asynccontextmanager
async def _folder(options: LocalOptions, narrator: Narrator) -> AsyncIterator[Path]:
    """The temporary folder of the Jobs' working directories."""
    folder = Path(tempfile.mkdtemp(prefix="git-events-runner-"))
    try:
        yield folder
    finally:
        if options.keep:
            narrator.plain(f"working directories kept in {folder}")
        else:
            await remove(folder)


@contextlib.asynccontextmanager
async def _working(
    options: LocalOptions, server: ApiServer, path: Path | None, folder: Path, reporter: _Reporter
) -> AsyncIterator[Addresses]:
    """Executor and controller at work; the controller stops first."""
    settings = replace(
        Settings.of({}, {}),
        webhooks_port=options.webhooks_port,
        utility_port=options.utility_port,
        ui=options.ui,
        namespace="default",
        host=_LOOPBACK,
        allow_loopback=True,
        send_notifications=options.send,
    )
    store = Store()
    async with Client.connect_to(server.url, server.token, socket=path) as client:
        jobs = Informer(
            client=client,
            kind=KINDS["Job"],
            writer=StoreWriter(store, "Job"),
            failed=lambda _kind, _error: None,
            absent=lambda: False,
        )
        executor = Executor(
            api=client, store=store, folder=folder, keep=options.keep, reporter=reporter, machine=dict(os.environ)
        )
        async with (
            running(jobs=jobs.run(), executor=executor.run()),
            controller(settings, client, ports=not options.once) as addresses,
        ):
            yield addresses


def _scheduled(manifests: Sequence[Manifest]) -> list[tuple[Ref, list[str]]]:
    """The triggers with a schedule that are not suspended, and their sources."""
    specs = [(one.ref, one.obj["spec"]) for one in manifests if one.ref.kind in TRIGGERS]
    triggers = [(ref, spec) for ref, spec in specs if spec.get("schedule") and not spec.get("suspend")]
    return [(ref, list(dict.fromkeys(spec["sources"]["names"]))) for ref, spec in triggers]


def _requested(manifests: Sequence[Manifest], server: ApiServer) -> list[tuple[Ref, bool]]:
    """The triggers whose annotations request a check or a run (True) that was not handled at an earlier start."""
    found = []
    for ref in (one.ref for one in manifests if one.ref.kind in TRIGGERS):
        stored = server.storage.get(KINDS[ref.kind], ref.namespace, ref.name) or {}
        requests = requests_of(stored.get("metadata") or {}, stored.get("status"), ())
        found += [(ref, request.run) for request in requests]
    return found


def _announce(narrator: Narrator, loaded: Loaded, at: Addresses | None, *, ui: bool, send: bool) -> None:
    """What was passed over, what is watched, and what to call; nothing can be called where nothing listens."""
    for line in loaded.skipped[:_ANNOUNCED]:
        narrator.plain(f"skipped   {line}")
    if len(loaded.skipped) > _ANNOUNCED:
        narrator.plain(f"          and {len(loaded.skipped) - _ANNOUNCED} more documents")
    descriptions: dict[str, Callable[[Manifest], list[str]]] = {
        "sources": _source,
        "schedules": _schedule,
        "webhooks": partial(_webhook, at=at),
        "notifiers": partial(_notifier, send=send),
    }
    for what, describe in descriptions.items():
        found = [lines for one in loaded.manifests if (lines := describe(one))]
        for line in chain.from_iterable(found[:_ANNOUNCED]):
            narrator.plain(line)
        if len(found) > _ANNOUNCED:
            narrator.plain(f"          and {len(found) - _ANNOUNCED} more {what}")
    if at is None:
        return
    narrator.plain(f"probes    http://{_LOOPBACK}:{at.utility_port}/ready, /alive and /metrics")
    if ui:
        narrator.plain(f"status    http://{_LOOPBACK}:{at.utility_port}/ui/")
    narrator.plain("Ctrl-C stops.")


def _source(one: Manifest) -> list[str]:
    return [f"source    {_name(one)}: {one.obj['spec']['repoUri']}"] if one.ref.kind in SOURCES else []


def _schedule(one: Manifest) -> list[str]:
    schedule = one.obj["spec"].get("schedule") if one.ref.kind in TRIGGERS else None
    if not schedule:
        return []
    when = f"every {schedule['interval']}" if schedule.get("interval") else f"cron {schedule['cron']}"
    return [f"schedule  {_name(one)}: {_watched(one)}, {when}{_suspended(one)}"]


def _webhook(one: Manifest, at: Addresses | None) -> list[str]:
    """The trigger, and what calls it: all of its sources where it allows that, each where there are several."""
    if one.ref.kind != "WebhookTrigger":
        return []
    if at is None:
        return [f"webhook   {_name(one)}: {_watched(one)}, not called with --once{_suspended(one)}"]
    webhook, names = one.obj["spec"]["webhook"], one.obj["spec"]["sources"]["names"]
    base = f"http://{_LOOPBACK}:{at.webhooks_port}/{_name(one)}"
    urls = [base] if webhook.get("multiSource") else []
    if not urls or len(names) > 1:
        urls += [f"{base}/{name}" for name in names]
    auth = webhook.get("authConfig") or {}
    proof = auth.get("type", "header") if auth else ""
    header = f"-H '{auth.get('header') or 'x-trigger-auth'}: …' " if proof == "header" else ""
    call = f"curl -X POST {header}" if proof in {"", "header"} else f"deliveries of type {proof} to "
    return [f"webhook   {_name(one)}: {_watched(one)}{_suspended(one)}", *(f"          {call}{url}" for url in urls)]


def _notifier(one: Manifest, *, send: bool) -> list[str]:
    if one.ref.kind not in NOTIFIERS:
        return []
    what = "messages are sent" if send else "messages are printed (--send sends them)"
    return [f"notifier  {_name(one)}: {one.obj['spec']['type']}, {what}"]


def _name(one: Manifest) -> str:
    return f"{one.ref.namespace}/{one.ref.name}" if one.ref.namespace else one.ref.name


def _suspended(one: Manifest) -> str:
    return ", suspended" if one.obj["spec"].get("suspend") else ""


def _watched(one: Manifest) -> str:
    """Sources and reference of a trigger, as `site (branch main, files *.md)`."""
    sources = one.obj["spec"]["sources"]
    watch = sources.get("watchOn") or {}
    files = f", files {' '.join(watch['files'])}" if watch.get("files") else ""
    return f"{', '.join(sources['names'])} ({watch_words(watch)}{files})"
