"""What steers a trigger: requests for checks and runs by annotation, how they end, and suspension (docs/runs.md)."""

from __future__ import annotations

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
from .output import plain
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


async def wait(session: Session, requested: Requested, *, timeout_s: float) -> int:
    """Follow a request to the end of its runs; the exit code: that of a run that failed, 1 where it is not known."""
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
                    return code
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        _progress(f"not ended after {timeout_s:g} s; see git-events-runner explain {ref.kind.lower()}/{ref.name}")
    except ApiNotFound:
        _progress(f"{ref} was deleted")
    return WRONG_OBJECT


async def set_suspended(session: Session, name: str, *, suspend: bool, unchanged: str, changed: str) -> int:
    """Set `spec.suspend` of a trigger and print which of the two texts applies; the exit code."""
    trigger = await session.trigger(name)
    ref = ref_of(trigger)
    text = unchanged
    if bool(trigger["spec"].get("suspend")) is not suspend:
        await session.client.patch(ref, {"spec": {"suspend": suspend}})
        text = changed
    return printed(f"{ref.kind.lower()}/{ref.name} {text}\n")


def state_of(trigger: Mapping[str, Any], requested: Requested) -> tuple[str, int | None]:
    """How far a request is, in words, and its exit code when it has ended."""
    status, before = trigger.get("status") or {}, requested.before.get("status") or {}
    if status.get(_HANDLED[requested.annotation]) != requested.token:
        return "waiting for the leader", None
    keys = [key for name in requested.sources for key in (name, *keys_of(status, name))]
    entries = {key: entry_of(status, key) for key in keys}
    if any(entry.is_open for entry in entries.values()):
        problems = [problem.message for name, problem in source_problems(status).items() if name in entries]
        return f"checking{': ' + problems[0] if problems else ''}", None
    new = [name for name, entry in entries.items() if entry.runs > entry_of(before, name).runs]
    jobs = {name: ((status.get("checkedSources") or {}).get(name) or {}).get("lastJob") or {} for name in new}
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


def _progress(text: str) -> None:
    sys.stderr.write(f"{plain(text)}\n")
    sys.stderr.flush()
