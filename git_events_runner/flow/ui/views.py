"""The pages' data: each page is a pure function of the rows, some facts, the query and now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.resources.kinds import SOURCES
from git_events_runner.rules.forge_links import host_of

from .estate import Rows
from .facts import Facts, HostFacts
from .parts import When, hours, paged, run_views, trigger_path, when
from .rows import EPOCH, RANKS, RunRow, State, TriggerRow
from .waits import Waits, waits_of
from .words import many, short

_FEW = 8
_FEW_HOSTS = 3
_LATEST = 10
_SEARCH_CHARS = 200
_RESULTS: dict[str, tuple[str, Callable[[RunRow], bool]]] = {
    "succeeded": ("Succeeded", lambda run: run.phase == "Succeeded"),
    "failed": ("Failed", lambda run: run.failed),
    "running": ("Running", lambda run: run.phase == "Running"),
    "queued": ("Queued", lambda run: run.phase == "Queued"),
    "other": ("Other", lambda run: run.phase not in {"Succeeded", "Failed", "CloneFailed", "Running", "Queued"}),
}
_SORTS: dict[str, str] = {"attention": "Needs attention first", "latest": "Last run first", "name": "Name"}
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerView:
    """A trigger as lists show it."""

    row: TriggerRow
    path: str
    problem: str
    commit: str
    last: Any


def _trigger_view(row: TriggerRow, now: datetime) -> TriggerView:
    last = row.last
    ended = when(last.ended_at or last.started_at or last.queued_at, now) if last is not None else None
    return TriggerView(
        row=row,
        path=trigger_path(row.ref),
        problem=row.declared.invalid or row.declared.problem,
        commit=short(last.commit) if last is not None else "",
        last=ended,
    )


def _by_attention(row: TriggerRow) -> tuple[Any, ...]:
    return (RANKS[row.state], row.ref.namespace or "", row.ref.name)


def _by_name(row: TriggerRow) -> tuple[Any, ...]:
    return (row.ref.namespace or "", row.ref.name, row.ref.kind)


def overview(rows: Rows, facts: Facts, now: datetime) -> dict[str, Any]:
    """Counts, what needs attention, what runs, what ended last."""
    triggers = list(rows.triggers.values())
    counts = Counter(row.state for row in triggers)
    attention = sorted((row for row in triggers if row.state.needs_attention), key=_by_attention)
    active = [run for run in rows.runs if not run.finished]
    running = [run for run in active if run.phase == "Running"]
    ended = [run for run in rows.runs if run.ended_at is not None]
    day = [run for run in ended if 0 <= (now - (run.ended_at or EPOCH)).total_seconds() < 86400]  # noqa: PLR2004  a day
    hosts = facts.hosts or ()
    backing_off = [host for host in hosts if host.backs_off_until is not None and host.backs_off_until > now]
    offset, segments = 0.0, []
    for state in State:
        if counts[state]:
            share = round(counts[state] / len(triggers) * 100, 3)
            segments.append({"state": state, "count": counts[state], "x": offset, "width": share})
            offset += share
    return {
        "headline": _headline(len(triggers), len(attention)),
        "calm": not attention,
        "total": len(triggers),
        "segments": segments,
        "attention": [_trigger_view(row, now) for row in attention[:_FEW]],
        "attention_more": max(len(attention) - _FEW, 0),
        "active": run_views(sorted(active, key=attrgetter("finished", "order"))[:_FEW], now),
        "active_more": max(len(active) - _FEW, 0),
        "running": len(running),
        "queued": sum(run.phase == "Queued" for run in active),
        "used_share": round(min(len(running) / facts.slots, 1.0) * 100, 2) if facts.slots else 0,
        "latest": run_views(sorted(ended, key=lambda run: run.ended_at or EPOCH, reverse=True)[:_LATEST], now),
        "succeeded": sum(run.phase == "Succeeded" for run in day),
        "failed": sum(run.failed for run in day),
        "hours": hours(day, now),
        "hosts_known": facts.hosts is not None,
        "hosts": len(hosts),
        "backing_off": [_host_until(host, now) for host in backing_off[:_FEW_HOSTS]],
        "failing": [host for host in hosts if host.last_problem and host not in backing_off][:_FEW_HOSTS],
    }


def _headline(total: int, attention: int) -> str:
    if not total:
        return "No triggers yet"
    if not attention:
        return f"All {many(total, 'trigger')} are fine" if total > 1 else "The trigger is fine"
    return f"{attention:,} of {many(total, 'trigger')} {'needs' if attention == 1 else 'need'} attention"


def _host_until(host: HostFacts, now: datetime) -> dict[str, Any]:
    return {"host": host.host, "until": when(host.backs_off_until, now)}


def _words(query: Query) -> list[str]:
    return query.get("q", "")[:_SEARCH_CHARS].lower().split()


def _options(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


def triggers(rows: Rows, query: Query, now: datetime) -> dict[str, Any]:
    """The list of triggers: filtered by namespace, state and text, sorted, one page of it."""
    every = rows.triggers.values()
    namespace, state, words = query.get("namespace", ""), query.get("state", ""), _words(query)
    found = [
        row
        for row in every
        if (not namespace or row.ref.namespace == namespace)
        and (not state or row.state == state or (state == "attention" and row.state.needs_attention))
        and all(word in row.declared.text for word in words)
    ]
    sort = query.get("sort", "attention")
    if sort == "latest":
        found.sort(key=lambda row: row.last.order if row.last else (EPOCH, 0, ""), reverse=True)
    else:
        found.sort(key=_by_name if sort == "name" else _by_attention)
    page = paged(found, query)
    return {
        "page": page,
        "triggers": [_trigger_view(row, now) for row in page.rows],
        "total": len(every),
        "query": {"q": query.get("q", "")[:_SEARCH_CHARS], "namespace": namespace, "state": state, "sort": sort},
        "namespaces": _options(sorted({row.ref.namespace or "" for row in every})),
        "states": [("attention", "Needs attention"), *((each.value, each.words) for each in State)],
        "sorts": list(_SORTS.items()),
        "filtered": bool(namespace or state or words),
    }


def runs(rows: Rows, query: Query, now: datetime) -> dict[str, Any]:
    """The list of runs, the latest first: filtered by namespace, result and text, one page of it."""
    namespace, result, words = query.get("namespace", ""), query.get("result", ""), _words(query)
    matches = _RESULTS[result][1] if result in _RESULTS else None
    found = [
        run
        for run in rows.runs
        if (not namespace or run.trigger.namespace == namespace)
        and (matches is None or matches(run))
        and (not words or _run_has(run, words))
    ]
    page = paged(found, query)
    return {
        "page": page,
        "runs": run_views(page.rows, now),
        "total": len(rows.runs),
        "query": {"q": query.get("q", "")[:_SEARCH_CHARS], "namespace": namespace, "result": result},
        "namespaces": _options(sorted({row.namespace or "" for row in rows.triggers})),
        "results": [(name, label) for name, (label, _) in _RESULTS.items()],
        "filtered": bool(namespace or result or words),
    }


def _run_has(run: RunRow, words: Sequence[str]) -> bool:
    text = (
        f"{run.trigger.namespace}\n{run.trigger.name}\n{run.source}\n{run.reference}\n{run.job}\n{run.commit}".lower()
    )
    return all(word in text for word in words)


def queue(rows: Rows, facts: Facts, query: Query, now: datetime) -> dict[str, Any]:
    """Which runs hold slots, and which wait, with what each waits for, the oldest first."""
    active = [run for run in rows.runs if not run.finished]
    running = sorted((run for run in active if run.phase == "Running"), key=attrgetter("order"))
    waiting = sorted((run for run in active if run.phase != "Running"), key=attrgetter("order"))
    held, queued = (Counter(run.trigger.namespace or "" for run in each) for each in (running, waiting))
    most = max((*held.values(), *queued.values()), default=1)
    page = paged(waiting, query)
    return {
        "running": run_views(running[: 2 * len(page.rows) + 50], now),
        "running_count": len(running),
        "waiting": run_views(page.rows, now),
        "waits": waits_of(page.rows, Waits(active, slots=facts.slots, share=facts.share), now),
        "page": page,
        "used_share": round(min(len(running) / facts.slots, 1.0) * 100, 2) if facts.slots else 0,
        "namespaces": [
            {
                "name": name,
                "running": held[name],
                "waiting": queued[name],
                "running_share": round(held[name] / most * 100, 2),
                "waiting_share": round(queued[name] / most * 100, 2),
            }
            for name in sorted({*held, *queued}, key=lambda name: (-held[name] - queued[name], name))[:50]
        ],
    }


def hosts(facts: Facts, sources: Callable[[str], Sequence[Snapshot]], query: Query, now: datetime) -> dict[str, Any]:
    """Git servers: those that sources name, with what this replica knows of them; failing ones first."""
    named: Counter[str] = Counter()
    for kind in SOURCES:
        for source in sources(kind):
            if source.model is not None and (host := host_of(source.model.spec.repo_uri)):
                named[host] += 1
    known = {host.host: host for host in facts.hosts or ()}
    found = [_host(name, named[name], known.get(name), now) for name in {*named, *known}]
    found.sort(key=attrgetter("rank", "name"))
    page = paged(found, query)
    return {"hosts": page.rows, "page": page, "known": facts.hosts is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A git server as its page shows it; `rank` is 0 while it throttles requests, 1 while it fails."""

    name: str
    sources: int
    facts: HostFacts | None
    last: When | None
    problem_at: When | None
    until: When | None
    rank: int


def _host(name: str, sources: int, facts: HostFacts | None, now: datetime) -> HostView:
    until = facts.backs_off_until if facts is not None else None
    throttled = until is not None and until > now
    failing = facts is not None and bool(facts.last_problem)
    return HostView(
        name=name,
        sources=sources,
        facts=facts,
        last=when(facts.last_at, now) if facts is not None else None,
        problem_at=when(facts.problem_at, now) if facts is not None else None,
        until=when(until, now) if throttled else None,
        rank=0 if throttled else 1 if failing else 2,
    )
