"""When a trigger is checked next by its schedule, for its status: written with what is written anyway.

A check that finds nothing writes its status at most once in ten minutes. So the time is shown only for schedules whose
times are at least that far apart: what a status shows has not passed for longer than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from git_events_runner.edges.kube.store import Store
from git_events_runner.flow.ports import PolicyGate
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.jobs.clone import phase_key
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.problems import Problem

_LEAST = timedelta(minutes=10)
_SOURCES = 100  # an interval has a time for each: of more sources the first ones count


class NextChecks:
    """Reads schedules of triggers as they are known."""

    def __init__(self, *, store: Store, gate: PolicyGate, now: Callable[[], datetime]) -> None:
        self._store = store
        self._gate = gate
        self._now = now

    def of(self, ref: Ref) -> str | None:
        """The next scheduled time of a trigger (RFC 3339); None: it has none, is suspended, or has one within minutes.

        The last is by its schedule, and not by the time that is left.
        """
        trigger = self._store.get(ref)
        if trigger is None or trigger.model is None:
            return None
        spec = trigger.model.spec
        if spec.schedule is None or spec.suspend:
            return None
        schedule = self._gate.schedule_of(ref.namespace or "", spec.schedule.interval, spec.schedule.cron)
        if isinstance(schedule, Problem):
            return None
        now, keys = self._now(), [""] if schedule.cron is not None else self._phases(ref, spec)
        times = [(at, key) for key in keys if (at := schedule.next_due(now, phase_key=key)) is not None]
        if not times:
            return None
        first, key = min(times)
        following = schedule.next_due(first, phase_key=key)
        return None if following is not None and following - first < _LEAST else rfc3339(first)

    def _phases(self, ref: Ref, spec: Any) -> Iterator[str]:
        for name in spec.sources.names[:_SOURCES]:
            found = self._store.get(named(spec.sources.kind, ref.namespace, name))
            known = found is not None and found.model is not None
            yield phase_key(found.model, ref.namespace or "") if found is not None and known else name
