"""The page of one trigger: sources, history, decisions, conditions, and the object as YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.errors import InvalidObject
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.forge_links import commit_page, host_of
from git_events_runner.rules.ignored import ignored_line
from git_events_runner.rules.jobs.clone import phase_key
from git_events_runner.rules.ledger.entry import Entry, entry_of
from git_events_runner.rules.problems import problem_of, warnings_of
from git_events_runner.rules.schedule.schedule import Schedule, parse_schedule

from .facts import Decision, Decisions
from .parts import When, paged, run_views, strip, when
from .rows import RunRow, Tone, TriggerRow, split
from .words import many, short

RESULTS: dict[str, tuple[Tone, str]] = {
    CheckResult.FIRE_FIRST: (Tone.GOOD, "Ran: first check"),
    CheckResult.FIRE_CHANGED: (Tone.GOOD, "Ran: new commit"),
    CheckResult.FIRE_ALWAYS: (Tone.GOOD, "Ran: every check runs"),
    CheckResult.FIRE_REQUESTED: (Tone.GOOD, "Ran: requested by annotation"),
    CheckResult.FIRE_DELETED: (Tone.GOOD, "Ran: reference deleted"),
    CheckResult.SKIP_SAME: (Tone.OFF, "Nothing new"),
    CheckResult.SKIP_FILES_SAME: (Tone.OFF, "New commit, same selected files"),
    CheckResult.SKIP_IGNORED: (Tone.OFF, "New commit, ignored (spec.ignore)"),
    CheckResult.SKIP_ADOPTED: (Tone.OFF, "Nothing new since v0.4"),
    CheckResult.SKIP_FIRST: (Tone.OFF, "First check: recorded, not run"),
    CheckResult.SKIP_DELETED: (Tone.OFF, "Reference deleted, nothing runs"),
    CheckResult.SKIP_ABSENT: (Tone.OFF, "No open pull request to run"),
    CheckResult.SKIP_ANSWERED: (Tone.OFF, "Handled by an earlier check"),
    CheckResult.SUSPENDED: (Tone.OFF, "Suspended"),
    CheckResult.WAIT_ANNOUNCED: (Tone.WAIT, "Waits for the announced commit"),
    CheckResult.WAIT_WINDOW: (Tone.WAIT, "Waits for a window"),
    CheckResult.WAIT_DEBOUNCE: (Tone.WAIT, "Waits until the reference rests"),
    CheckResult.WAIT_COOLDOWN: (Tone.WAIT, "Waits after the last run"),
    CheckResult.WAIT_DELETED: (Tone.WAIT, "Waits to confirm a deletion"),
    CheckResult.WRONG_CONFIG: (Tone.BAD, "Configuration has to be changed"),
    CheckResult.INVALID: (Tone.BAD, "The trigger is invalid"),
    CheckResult.REFUSED: (Tone.BAD, "The Job was refused"),
    CheckResult.GIT_FAILED: (Tone.BAD, "The request to the git server failed"),
    CheckResult.API_FAILED: (Tone.BAD, "A request to the API server failed"),
    CheckResult.CRASHED: (Tone.BAD, "A bug in the check"),
    CheckResult.FENCE_LOST: (Tone.OFF, "Left to the next leader"),
    CheckResult.RESTART: (Tone.WAIT, "Tried again: the record changed"),
    CheckResult.DROPPED: (Tone.OFF, "Nothing to check any more"),
}
_REFERENCES = 20
_YAML_CHARS = 256 * 1024
_LOADED = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """A decision as the page shows it."""

    tone: Tone
    words: str
    at: When | None
    since: When | None
    count: int
    commit: str
    why: str
    until: When | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceView:
    """One of the references of a source that patterns select."""

    name: str
    commit: str
    commit_url: str | None
    changed: When | None
    decision: DecisionView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """One source of the trigger: its record, and its last decision."""

    name: str
    kind: str
    repository: str
    host: str
    missing: bool
    entry: Entry
    commit: str
    commit_url: str | None
    changed: When | None
    requests: int
    problem: str
    ignored: str
    last: RunRow | None
    decisions: Sequence[DecisionView]
    references: Sequence[ReferenceView]
    more_references: int


def trigger(
    row: TriggerRow,
    runs: Sequence[RunRow],
    get: Callable[[Ref], Snapshot | None],
    decisions: Decisions | None,
    query: Mapping[str, str],
    now: datetime,
) -> dict[str, Any]:
    """One trigger's page; `runs` are its own, the latest first, `get` reads the store.

    `decisions` is None where checks are made by other processes.
    """
    snapshot, declared = get(row.ref), row.declared
    raw = snapshot.raw if snapshot is not None else {}
    spec = snapshot.model.spec if snapshot is not None and snapshot.model is not None else None
    page = paged(declared.sources, {"page": query.get("page", "")})
    source_kind = spec.sources.kind if spec is not None else "GitRepo"
    scope = None if source_kind.startswith("Cluster") else row.ref.namespace
    last_of: dict[str, RunRow] = {}
    for run in runs:
        last_of.setdefault(run.source, run)

    def decided(key: str) -> list[DecisionView]:
        found = decisions.of(declared.uid, key) if decisions is not None else ()
        return [decision_view(each, now) for each in found]

    sources = [
        _source(
            name,
            Ref(source_kind, scope, name),
            get,
            raw,
            _forge(spec),
            last_of.get(name),
            decided,
            now,
        )
        for name in page.rows
    ]
    links = {source.name: source.repository for source in sources}
    history = run_views(runs[:50], now)
    return {
        "trigger": row,
        "sources": sources,
        "page": page,
        "runs": history,
        "run_links": {
            view.row.job: commit_page(links.get(view.row.source, ""), view.row.commit, _forge(spec)) for view in history
        },
        "runs_total": len(runs),
        "strip": strip(runs, now),
        "since": when(declared.since, now),
        "next": when(_next(spec, row.ref, get, now), now),
        "conditions": [
            {"condition": each, "since": when(timestamp(each.last_transition_time), now)}
            for each in sorted(declared.conditions.values(), key=lambda each: (each.type != "Ready", each.type))
        ],
        "warnings": warnings_of(raw.get("status"))[:50],
        "decisions_known": decisions is not None,
        "several": many(len(declared.sources), "source"),
        "yaml": _yaml(row.ref, raw) if query.get("yaml") else None,
    }


def decision_view(decision: Decision, now: datetime) -> DecisionView:
    """A decision as the page shows it."""
    tone, words = RESULTS.get(decision.result, (Tone.OFF, decision.result))
    return DecisionView(
        tone=tone,
        words=words,
        at=when(decision.at, now),
        since=when(decision.since, now) if decision.count > 1 else None,
        count=decision.count,
        commit=short(decision.commit),
        why=decision.why,
        until=when(decision.until, now) if decision.until is not None and decision.until > now else None,
    )


def _source(
    name: str,
    ref: Ref,
    get: Callable[[Ref], Snapshot | None],
    raw: Mapping[str, Any],
    forge: str | None,
    last: RunRow | None,
    decided: Callable[[str], list[DecisionView]],
    now: datetime,
) -> SourceView:
    found = get(ref)
    uri = found.model.spec.repo_uri if found is not None and found.model is not None else ""
    entry = entry_of(raw.get("status"), name)
    problem = problem_of(raw.get("status"), name)
    decisions = decided(name)
    shown = problem is not None and bool(decisions) and decisions[0].why == problem.message
    references = _references(raw.get("status"), name)
    return SourceView(
        name=name,
        kind=ref.kind,
        repository=uri,
        host=host_of(uri),
        missing=found is None,
        entry=entry,
        commit=short(entry.commit),
        commit_url=commit_page(uri, entry.commit, forge),
        changed=when(timestamp(entry.changed), now),
        requests=entry.requested - entry.handled + entry.run_requested - entry.run_handled,
        problem=f"{problem.reason}: {problem.message}" if problem is not None and not shown else "",
        ignored=ignored_line(raw.get("status"), name) or "",
        last=last,
        decisions=decisions,
        references=[
            ReferenceView(
                name=split(key)[1],
                commit=short(one.commit),
                commit_url=commit_page(uri, one.commit, forge),
                changed=when(timestamp(one.changed), now),
                decision=next(iter(decided(key)), None),
            )
            for key, one in references[:_REFERENCES]
        ],
        more_references=max(len(references) - _REFERENCES, 0),
    )


def _references(status: Mapping[str, Any] | None, source: str) -> list[tuple[str, Entry]]:
    """The entries of the source's references, the one that moved last first."""
    entries = (status or {}).get("checkedSources")
    keys = [key for key in entries if split(key)[1] and split(key)[0] == source] if isinstance(entries, Mapping) else []
    found = [(key, entry_of(status, key)) for key in keys]
    return sorted(found, key=lambda one: one[1].changed or "", reverse=True)


def _forge(spec: Any) -> str | None:
    """The forge that calls the trigger, as its webhook names it."""
    webhook = getattr(spec, "webhook", None)
    auth = webhook.auth_config if webhook is not None else None
    return auth.type if auth is not None else None


def _next(spec: Any, ref: Ref, get: Callable[[Ref], Snapshot | None], now: datetime) -> datetime | None:
    """The next scheduled time of any source; None: there is none, or it cannot be read."""
    if spec is None or spec.schedule is None or spec.suspend:
        return None
    try:
        schedule = parse_schedule(spec.schedule.interval, spec.schedule.cron)
        times = [_following(schedule, name, spec.sources.kind, ref, get, now) for name in spec.sources.names[:50]]
    except (InvalidObject, ValueError, OverflowError):
        return None
    return min((each for each in times if each is not None), default=None)


def _following(
    schedule: Schedule, name: str, kind: str, ref: Ref, get: Callable[[Ref], Snapshot | None], now: datetime
) -> datetime | None:
    source = get(named(kind, ref.namespace, name))
    key = phase_key(source.model, ref.namespace or "") if source is not None and source.model is not None else name
    return schedule.next_due(now, phase_key=key)


def _yaml(ref: Ref, raw: Mapping[str, Any]) -> str:
    """The object as `kubectl get -o yaml` shows it; a very long one is cut."""
    text: str = yaml.dump(
        {"apiVersion": KINDS[ref.kind].api_version, "kind": ref.kind, **raw},
        Dumper=_LOADED,
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )
    if len(text) > _YAML_CHARS:
        text = text[:_YAML_CHARS] + "\n# … the rest is cut; kubectl shows all of it\n"
    return text
