"""Why a trigger ran or did not: numbered steps from stored objects, the cause first. Pure: facts in, findings out.

`cause` is the step with the lowest rank: what prevents a run comes before what delays one, and that before what
explains why nothing had to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.problems import source_problems
from git_events_runner.rules.references import MARK, source_of
from git_events_runner.rules.waits import waits_of

from .facts import Facts, event_time
from .findings import SHOWN, Explanation, Step, names_of, short
from .notifier_findings import of_notifiers
from .overview import history_of
from .source_findings import of_source
from .trigger_findings import of_trigger

_EVENTS_SHOWN = 5


def explain(facts: Facts, source: str | None = None) -> Explanation:
    """Why the trigger ran or did not, for one source or all."""
    steps = [*of_trigger(facts)]
    names = keys_of(facts, [source] if source is not None else names_of(facts))
    shown = sorted(names, key=_urgency(facts))[:SHOWN]
    for name in shown:
        steps += of_source(facts, name)
    if len(names) > len(shown):
        what, example = ("references", f"--source {names[-1]}") if MARK in names[-1] else ("sources", "--source")
        steps.append(Step(topic=what, text=f"and {len(names) - len(shown)} more {what}", remedy=f"use {example}"))
    steps += of_notifiers(facts)
    steps += _of_events(facts)
    steps += [Step(topic="not read", text=f"{what}: {why}") for what, why in facts.unread.items()]
    return Explanation(cause=min(steps, key=lambda step: step.rank), steps=tuple(steps))


def keys_of(facts: Facts, names: Iterable[str]) -> list[str]:
    """The entries of these sources: one each, or one for each reference that is recorded, or to be checked."""
    entries = (facts.trigger.get("status") or {}).get("checkedSources") or {}
    known = dict.fromkeys((*entries, *facts.live))
    return [key for name in names for key in [one for one in known if name in {one, source_of(one)}] or [name]]


def _urgency(facts: Facts) -> Callable[[str], int]:
    """What sorts entries: those with problems first, then what waits, is open, or differs from what git shows."""
    status = facts.trigger.get("status")
    problems, waits = source_problems(status), waits_of(status)

    def rank(name: str) -> int:
        entry, live = entry_of(status, name), facts.live.get(name)
        differs = live is not None and (live.problem is not None or live.commit != entry.commit)
        return next(
            (n for n, holds in enumerate((name in problems, name in waits, entry.is_open, differs)) if holds), 4
        )

    return rank


def _of_events(facts: Facts) -> Iterator[Step]:
    for event in facts.events[-_EVENTS_SHOWN:]:
        yield Step(topic="event", text=f"{event_time(event)} {event.get('reason')}: {event.get('note')}")
    for run in history_of(facts.trigger)[:1]:
        yield Step(
            topic="history",
            text=f"last run: {run.number or '-'} of {run.source}, commit {short(run.commit)}, {run.phase}",
        )
