"""The state of a trigger in one row and in full, from the stored object alone. Pure: the time comes from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.job import timestamp
from git_events_runner.rules.ignored import ignored_line
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.problems import all_problems, one_line, source_problems, warnings_of
from git_events_runner.rules.reference_entries import keys_of
from git_events_runner.rules.references import reference_of as reference_of_key
from git_events_runner.rules.references import source_of
from git_events_runner.rules.schedule.schedule import parse_schedule
from git_events_runner.rules.waits import waiting_of
from git_events_runner.rules.watch_words import watch_words

from .models import Condition, Run, Source, Trigger, TriggerDetail

_RUN_FIELDS = (  # texts
    "source",
    "reference",
    "commit",
    "author",
    "subject",
    "reason",
    "job",
    "phase",
    "queued",
    "started",
    "finished",
    "attempt",
)
Phase = Callable[[str], str]


def row_of(obj: Mapping[str, Any], now: datetime, phase_key: Phase) -> Trigger:
    """A trigger in one row; `phase_key` gives a source's phase of intervals (`rules.clone.phase_key`)."""
    return Trigger(**_fields(obj, now, phase_key))


def detail_of(obj: Mapping[str, Any], now: datetime, phase_key: Phase) -> TriggerDetail:
    """A trigger in full."""
    return TriggerDetail(
        **_fields(obj, now, phase_key), sources=sources_of(obj), history=history_of(obj), conditions=conditions_of(obj)
    )


def _fields(obj: Mapping[str, Any], now: datetime, phase_key: Phase) -> dict[str, Any]:
    metadata, spec, status = _map(obj.get("metadata")), _map(obj.get("spec")), _map(obj.get("status"))
    conditions = {one.type: one for one in conditions_of(obj)}
    runs, sources = history_of(obj), sources_of(obj)
    last = runs[0] if runs else None
    phases = [run.phase for run in _last_runs(status)]
    queued, running = sum(p in {"Queued", "Suspended"} for p in phases), phases.count("Running")
    newest = max(sources, key=lambda one: one.changed or "", default=None)
    return {
        "kind": str(obj.get("kind")),
        "namespace": str(metadata.get("namespace") or ""),
        "name": str(metadata.get("name")),
        "state": _state(metadata, spec, status, conditions, queued, running),
        "suspended": spec.get("suspend") is True,
        "result": last.phase if last else None,
        "commit": last.commit if last else newest.commit if newest else None,
        "last_run": (last.finished or last.started or last.queued) if last else None,
        "next_check": _text_of(next_check(obj, now, phase_key)),
        "queued": queued,
        "running": running,
        "problem": problem_of(status, conditions, last),
        "warnings": warning_texts(status),
    }


def _state(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    conditions: Mapping[str, Condition],
    queued: int,
    running: int,
) -> str:
    states = {
        "Deleting": bool(metadata.get("deletionTimestamp")),
        "Stalled": _holds(conditions, "Stalled") or status.get("state") == "WrongConfig",
        "Suspended": spec.get("suspend") is True,
        "Running": bool(running),
        "Retrying": _holds(conditions, "Reconciling"),
        "Queued": bool(queued),
        "Waiting": _holds(conditions, "Waiting"),
        "New": not status.get("checkedSources"),
    }
    return next((state for state, holds in states.items() if holds), "Idle")


def problem_of(status: Mapping[str, Any], conditions: Mapping[str, Condition], last: Run | None) -> str | None:
    """What is wrong with a trigger, in one line; None: nothing."""
    problems = all_problems(status)
    if problems:
        subject, problem = problems[0]
        return f"{subject}: {problem.message}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
    for kind in ("Stalled", "Reconciling", "CloneFailed"):
        if _holds(conditions, kind):
            return one_line(conditions[kind].message) or conditions[kind].reason
    if last and last.phase == "Failed":
        return f"Job {last.job} failed" + (f" with exit code {last.exit_code}" if last.exit_code is not None else "")
    return None


def warning_texts(status: Mapping[str, Any]) -> list[str]:
    """The warnings, each with its reason and source."""
    return [
        f"{one.reason}: {f'source {one.source}: ' if one.source is not None else ''}{one.message}"
        for one in warnings_of(status)
    ]


def conditions_of(obj: Mapping[str, Any]) -> list[Condition]:
    """The conditions that can be read."""
    listed = _map(obj.get("status")).get("conditions")
    return [
        Condition(
            type=str(one["type"]),
            status=str(one.get("status") or "Unknown"),
            reason=str(one.get("reason") or ""),
            message=str(one.get("message") or ""),
            since=one.get("lastTransitionTime"),
        )
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, Mapping) and one.get("type")
    ]


def sources_of(obj: Mapping[str, Any]) -> list[Source]:
    """The sources of a trigger, with what is recorded of each."""
    status, watch = _map(obj.get("status")), _map(_map(obj.get("spec")).get("sources"))
    names = watch.get("names")
    problems = source_problems(status)
    sources = []
    listed = [str(name) for name in dict.fromkeys(names if isinstance(names, list) else ())]
    for key in [key for name in listed for key in (name, *keys_of(status, name))]:
        entry, reference, waiting = entry_of(status, key), reference_of_key(key), waiting_of(status, key)
        sources.append(
            Source(
                name=source_of(key),
                kind=str(watch.get("kind") or "GitRepo"),
                reference=reference_of(obj) if reference is None else " ".join(reference),
                commit=entry.commit,
                changed=entry.changed,
                runs=entry.runs,
                open_requests=entry.requested - entry.handled + entry.run_requested - entry.run_handled,
                problem=problems[key].message if key in problems else None,
                waiting=str(waiting.get("reason")) if waiting else None,
                waiting_until=_str(waiting.get("until")),
                ignored=ignored_line(status, key),
            )
        )
    return sources


def reference_of(obj: Mapping[str, Any]) -> str:
    """What the trigger watches, as `branch main`.

    >>> reference_of({"spec": {"sources": {"watchOn": {"reference": {"tag": "v1"}}}}}), reference_of({})
    ('tag v1', 'branch main')
    >>> references = {"branches": {"exclude": ["wip/**"]}, "tags": {"include": ["v*"], "semver": ">=1.2"}}
    >>> reference_of({"spec": {"sources": {"watchOn": {"references": references}}}})
    'branches ** except wip/**, tags v* with version >=1.2'
    """
    return watch_words(_map(_map(_map(obj.get("spec")).get("sources")).get("watchOn")))


def history_of(obj: Mapping[str, Any]) -> list[Run]:
    """The last runs, newest first: `status.history`, else the last Job of each source."""
    status = _map(obj.get("status"))
    listed = status.get("history")
    if isinstance(listed, list) and listed:
        return [_run(one) for one in listed if isinstance(one, Mapping)]
    return sorted(_last_runs(status), key=lambda run: run.queued or "", reverse=True)


def _last_runs(status: Mapping[str, Any]) -> list[Run]:
    """The last Job of each source."""
    runs = []
    for name, entry in _map(status.get("checkedSources")).items():
        last = _map(_map(entry).get("lastJob"))
        if last.get("name"):
            number, changed = _map(entry).get("runs"), _map(entry).get("changed")
            commit = last.get("commit") or _map(entry).get("commitHash")
            runs.append(
                _run(
                    {
                        "number": number,
                        "source": name,
                        "commit": commit,
                        "job": last["name"],
                        "phase": last.get("phase"),
                        "queued": changed,
                    }
                )
            )
    return runs


def _run(record: Mapping[str, Any]) -> Run:
    fields = {name: str(record[name]) for name in _RUN_FIELDS if record.get(name) is not None}
    number, code = record.get("number"), record.get("exitCode")
    return Run(
        number=number if isinstance(number, int) else None, exit_code=code if isinstance(code, int) else None, **fields
    )


def next_check(obj: Mapping[str, Any], now: datetime, phase_key: Phase) -> datetime | None:
    """The next scheduled time of any source; None: there is no schedule, or it is suspended or cannot be read."""
    spec = _map(obj.get("spec"))
    schedule = _map(spec.get("schedule"))
    names = _map(spec.get("sources")).get("names")
    if not schedule or spec.get("suspend") is True or not isinstance(names, list):
        return None
    try:
        parsed = parse_schedule(schedule.get("interval"), schedule.get("cron"))
    except (InvalidObject, TypeError):
        return None
    keys = {""} if parsed.cron is not None else {phase_key(str(name)) for name in names}
    times = [time for key in keys if (time := parsed.next_due(now, phase_key=key)) is not None]
    return min(times, default=None)


def last_change(obj: Mapping[str, Any]) -> datetime | None:
    """When a run of the trigger last ended or began, or a commit was recorded."""
    runs = history_of(obj)
    times = [timestamp(run.finished or run.started or run.queued) for run in runs[:1]]
    return next((time for time in times if time is not None), None)


def _holds(conditions: Mapping[str, Condition], kind: str) -> bool:
    return kind in conditions and conditions[kind].status == "True"


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _str(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _text_of(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
