"""What steers a trigger: requests for checks and runs by annotation, how they end, and suspension (docs/runs.md)."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from git_events_runner.errors import ApiNotFound, ConfigError
from git_events_runner.resources.job import UNFINISHED_PHASES
from git_events_runner.rules.annotated import CHECK_ANNOTATION, RUN_ANNOTATION, SOURCES_ANNOTATION, is_reference
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.problems import source_problems
from git_events_runner.rules.reference_entries import keys_of
from git_events_runner.telemetry.stdout import printed

from .facts import ref_of
from .models import OutcomeOut, RequestOut, Run, SuspensionOut, dumped
from .output import plain, structured
from .overview import history_of
from .session import WRONG_OBJECT, Session

_POLL_S = 1.0
_HANDLED = {CHECK_ANNOTATION: "lastHandledRequestedAt", RUN_ANNOTATION: "lastHandledRunRequestedAt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A request that is stored: its annotation and token, the trigger as it was before, and the sources."""

    annotation: str
    token: str
    before: Mapping[str, Any]
    sources: tuple[str, ...]


def names_of(trigger: Mapping[str, Any]) -> list[str]:
    """The sources of a trigger."""
    return list(dict.fromkeys(((trigger.get("spec") or {}).get("sources") or {}).get("names") or ()))


async def request(session: Session, trigger: Mapping[str, Any], *, run: bool, sources: Sequence[str] = ()) -> Requested:
    """Request a check, or a run of all or these sources.

    Raises:
        ConfigError: The trigger does not have such a source.
        ApiError: The annotation cannot be written.
    """
    known = names_of(trigger)
    for name in sources:
        if name not in known and not is_reference(trigger.get("status"), name, known):
            raise ConfigError(f"--source: {name!r} is no source of the trigger, which has {', '.join(known)}")
    annotation = RUN_ANNOTATION if run else CHECK_ANNOTATION
    token = f"{datetime.now(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}-{secrets.token_hex(3)}"
    annotations: dict[str, str | None] = {annotation: token}
    if run:
        annotations[SOURCES_ANNOTATION] = ",".join(sources) or None
    await session.client.patch(ref_of(trigger), {"metadata": {"annotations": annotations}})
    return Requested(annotation=annotation, token=token, before=trigger, sources=tuple(sources or known))


async def finish(session: Session, requested: Requested, text: str, arguments: argparse.Namespace) -> int:
    """Print what is requested, follow it with `--wait`, and print its JSON at the end; the exit code."""
    form, outcome = arguments.output, None
    if form == "text":
        printed(f"{plain(text)}\n")
    if arguments.wait:
        outcome = await wait(session, requested, timeout_s=arguments.timeout)
    code = outcome.exit_code if outcome is not None else 0
    if form == "text":
        return code
    ref = ref_of(requested.before)
    out = RequestOut(
        kind=ref.kind,
        namespace=str(ref.namespace),
        name=ref.name,
        request="run" if requested.annotation == RUN_ANNOTATION else "check",
        token=requested.token,
        sources=list(requested.sources),
        outcome=outcome,
    )
    return structured(form, dumped(out)) or code


async def wait(session: Session, requested: Requested, *, timeout_s: float) -> OutcomeOut:
    """Follow a request to the end of its runs; the exit code is that of a run that failed, 1 where it is not known."""
    ref, shown = ref_of(requested.before), ""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                trigger = {**await session.client.get(ref), "kind": ref.kind}
                state, code = state_of(trigger, requested)
                if state != shown:
                    _progress(state)
                    shown = state
                if code is not None:
                    return OutcomeOut(text=state, exit_code=code, runs=runs_of(trigger, requested))
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        text = f"not ended after {timeout_s:g} s; see git-events-runner explain {ref.kind.lower()}/{ref.name}"
    except ApiNotFound:
        text = f"{ref} was deleted"
    _progress(text)
    return OutcomeOut(text=text, exit_code=WRONG_OBJECT, runs=[])


async def set_suspended(
    session: Session, arguments: argparse.Namespace, *, suspend: bool, unchanged: str, changed: str
) -> int:
    """Set `spec.suspend` of a trigger and print which of the two texts applies; the exit code."""
    trigger = await session.trigger(arguments.name)
    ref, differs = ref_of(trigger), bool(trigger["spec"].get("suspend")) is not suspend
    if differs:
        await session.client.patch(ref, {"spec": {"suspend": suspend}})
    if arguments.output == "text":
        return printed(f"{ref.kind.lower()}/{ref.name} {changed if differs else unchanged}\n")
    out = SuspensionOut(kind=ref.kind, namespace=str(ref.namespace), name=ref.name, suspended=suspend, changed=differs)
    return structured(arguments.output, dumped(out))


def state_of(trigger: Mapping[str, Any], requested: Requested) -> tuple[str, int | None]:
    """How far a request is, in words, and its exit code when it has ended."""
    status, before = trigger.get("status") or {}, requested.before.get("status") or {}
    if status.get(_HANDLED[requested.annotation]) != requested.token:
        return "waiting for the leader", None
    entries = {key: entry_of(status, key) for key in _keys(status, requested)}
    if any(entry.is_open for entry in entries.values()):
        problems = [problem.message for name, problem in source_problems(status).items() if name in entries]
        return f"checking{': ' + problems[0] if problems else ''}", None
    new = _started(status, before, requested)
    jobs = {name: _last_job(status, name) for name in new}
    phases = {name: str(job.get("phase") or "Running") for name, job in jobs.items()}
    if not new:
        return "checked: nothing has changed, no run", 0
    words = ", ".join(f"{name}: Job {jobs[name].get('name')} {phase}" for name, phase in phases.items())
    if any(phase in UNFINISHED_PHASES for phase in phases.values()):
        return words, None
    failed = [name for name, phase in phases.items() if phase not in {"Succeeded", "Superseded"}]
    codes = {run.job: run.exit_code for run in history_of(trigger)}
    code = next((found for name in failed if (found := codes.get(jobs[name].get("name")))), None)
    return words, (code or WRONG_OBJECT) if failed else 0


def runs_of(trigger: Mapping[str, Any], requested: Requested) -> list[Run]:
    """The runs that a request has started: of each source, or reference, the last one."""
    status, before = trigger.get("status") or {}, requested.before.get("status") or {}
    recorded = {run.job: run for run in history_of(trigger)}
    runs = []
    for name in _started(status, before, requested):
        job = _last_job(status, name)
        unlisted = Run(
            number=entry_of(status, name).runs,
            source=name,
            commit=job.get("commit"),
            job=job.get("name"),
            phase=str(job.get("phase") or "Running"),
        )
        runs.append(recorded.get(job.get("name"), unlisted))
    return runs


def _keys(status: Mapping[str, Any], requested: Requested) -> list[str]:
    """The entries that a request concerns: those of its sources, and of their references."""
    return [key for name in requested.sources for key in (name, *keys_of(status, name))]


def _started(status: Mapping[str, Any], before: Mapping[str, Any], requested: Requested) -> list[str]:
    """The entries that have a run which they did not have before the request."""
    keys = _keys(status, requested)
    return [name for name in keys if entry_of(status, name).runs > entry_of(before, name).runs]


def _last_job(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The Job that an entry records; empty: none."""
    return ((status.get("checkedSources") or {}).get(name) or {}).get("lastJob") or {}


def _progress(text: str) -> None:
    sys.stderr.write(f"{plain(text)}\n")
    sys.stderr.flush()
