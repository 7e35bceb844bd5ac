"""`status`: the state of triggers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from git_events_runner.errors import ApiForbidden, InvalidObject
from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.kinds import KINDS, TRIGGERS
from git_events_runner.resources.parse import parse
from git_events_runner.rules.jobs.clone import phase_key
from git_events_runner.telemetry.stdout import printed

from .models import Condition, Run, Source, Trigger, TriggerDetail, TriggerList, dumped
from .options import add_cluster, add_output, add_trigger
from .output import Cell, age, painted, plain, structured, table, until
from .overview import detail_of, row_of
from .session import Session
from .session import run as run_session

EXAMPLE = "git-events-runner status -A -o wide"
_COMMIT_CHARS = 7
_COLORS = {
    "Stalled": "bad", "Failed": "bad", "Retrying": "warn", "Queued": "warn", "Waiting": "warn", "Suspended": "dim",
    "Succeeded": "good", "Running": "good",
}  # fmt: skip


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser, optional=True)
    add_cluster(parser, everywhere=True)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the triggers, or one in full; 1 if that one has a problem."""

    async def verb(session: Session) -> int:
        return await (_one(session, arguments) if arguments.name else _all(session, arguments))

    return run_session(arguments, verb)


async def _all(session: Session, arguments: argparse.Namespace) -> int:
    found = [one for kind in TRIGGERS for one in await session.all(KINDS[kind], namespace=session.namespace)]
    phases = await _phases(session, found)
    now = session.now()
    rows = [row_of(one, now, phases(one)) for one in found]
    rows.sort(key=lambda row: (row.namespace, row.kind, row.name))
    if arguments.output in {"json", "yaml"}:
        return structured(arguments.output, dumped(TriggerList(items=rows)))
    return _print_rows(rows, now, session, wide=arguments.output == "wide")


async def _one(session: Session, arguments: argparse.Namespace) -> int:
    obj = await session.trigger(arguments.name)
    phases, now = await _phases(session, [obj]), session.now()
    detail = detail_of(obj, now, phases(obj))
    if arguments.output in {"json", "yaml"}:
        failed = structured(arguments.output, dumped(detail))
    else:
        failed = _print_detail(detail, now)
    return failed or int(detail.problem is not None)


async def _phases(
    session: Session, triggers: list[dict[str, Any]]
) -> Callable[[Mapping[str, Any]], Callable[[str], str]]:
    """Gives the phases of a trigger's sources: the sources are listed, once, where an interval needs them."""
    wanted = {
        str((one.get("spec") or {}).get("sources", {}).get("kind") or "GitRepo")
        for one in triggers
        if ((one.get("spec") or {}).get("schedule") or {}).get("interval")
    }
    models: dict[tuple[str, str], Any] = {}
    for kind in wanted & {"GitRepo", "ClusterGitRepo"}:
        try:
            namespace = session.namespace if kind == "GitRepo" else None
            for source in await session.all(KINDS[kind], namespace=namespace):
                try:
                    models[source["metadata"].get("namespace") or "", source["metadata"]["name"]] = parse(source)
                except InvalidObject:
                    continue
        except ApiForbidden:
            continue

    def of_trigger(trigger: Mapping[str, Any]) -> Callable[[str], str]:
        namespace = str(trigger["metadata"].get("namespace") or "")
        cluster = (trigger.get("spec") or {}).get("sources", {}).get("kind") == "ClusterGitRepo"

        def of_source(name: str) -> str:
            model = models.get(("" if cluster else namespace, name))
            return phase_key(model, namespace) if model else name

        return of_source

    return of_trigger


def _print_rows(rows: list[Trigger], now: datetime, session: Session, *, wide: bool) -> int:
    if not rows:
        where = f"in the namespace {session.namespace}" if session.namespace else "in any namespace"
        return printed(f"no triggers {where}\n")
    everywhere = session.namespace is None
    columns = ["TRIGGER", "STATE", "RESULT", "COMMIT", "AGE", "NEXT", "QUEUE", "PROBLEM"]
    cells: list[list[Cell | str]] = []
    for row in rows:
        problem = row.problem or ""
        cells.append(
            [
                *([row.namespace] if everywhere else []),
                f"{row.kind.lower()}/{row.name}",
                (row.state, _COLORS.get(row.state)),
                (row.result or "-", _COLORS.get(row.result or "")),
                (row.commit or "-")[: None if wide else _COMMIT_CHARS],
                age(timestamp(row.last_run), now),
                until(timestamp(row.next_check), now),
                str(row.queued) if row.queued else "-",
                problem if wide or len(problem) <= 80 else problem[:79] + "…",  # noqa: PLR2004  a line
                *(["; ".join(row.warnings)] if wide else []),
            ]
        )
    return printed(table([*(["NAMESPACE"] if everywhere else []), *columns, *(["WARNINGS"] if wide else [])], cells))


def _print_detail(detail: TriggerDetail, now: datetime) -> int:
    lines = [
        f"{detail.kind} {detail.namespace}/{plain(detail.name)}",
        f"state       {painted(detail.state, _COLORS.get(detail.state))}",
        f"next check  {detail.next_check or '-'}"
        + (f" ({until(timestamp(detail.next_check), now)})" if detail.next_check else ""),
    ]
    if detail.problem:
        lines.append(f"problem     {painted(plain(detail.problem), 'bad')}")
    lines += [f"warning     {painted(plain(one), 'warn')}" for one in detail.warnings]
    lines += [f"ignored     {plain(one.name)}: {plain(one.ignored)}" for one in detail.sources if one.ignored]
    text = "\n".join(lines) + "\n\n"
    columns = ["SOURCE", "REFERENCE", "COMMIT", "CHANGED", "RUNS", "OPEN", "WAITS UNTIL", "PROBLEM"]
    text += table(columns, [_source(one, now) for one in detail.sources])
    if detail.history:
        columns = ["RUN", "SOURCE", "COMMIT", "RESULT", "AGE", "JOB", "EXIT"]
        text += "\n" + table(columns, [_run(one, now) for one in detail.history])
    if detail.conditions:
        rows = [_condition(one, now) for one in detail.conditions]
        text += "\n" + table(["CONDITION", "STATUS", "REASON", "AGE", "MESSAGE"], rows)
    return printed(text)


def _source(one: Source, now: datetime) -> list[Cell | str]:
    changed, commit = age(timestamp(one.changed), now), (one.commit or "-")[:_COMMIT_CHARS]
    unknown = "(no window opens)" if one.waiting == Reason.OUTSIDE_WINDOWS else "(the last run has not started)"
    waits = f"{one.waiting} {one.waiting_until or unknown}" if one.waiting else "-"
    opened = str(one.open_requests)
    return [one.name, one.reference, commit, changed, str(one.runs), opened, waits, one.problem or ""]


def _run(one: Run, now: datetime) -> list[Cell | str]:
    phase, since = one.phase or "-", age(timestamp(one.finished or one.started or one.queued), now)
    code = "" if one.exit_code is None else str(one.exit_code)
    commit = (one.commit or "-")[:_COMMIT_CHARS]
    return [str(one.number or "-"), one.source or "-", commit, (phase, _COLORS.get(phase)), since, one.job or "-", code]


def _condition(one: Condition, now: datetime) -> list[Cell | str]:
    return [one.type, one.status, one.reason, age(timestamp(one.since), now), one.message]
