"""Jobs that wait for a slot start inside their trigger's windows, too (`start_waits` in tests/model)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.problems import Problem
from git_events_runner.rules.waits import WaitPolicy, starts_any_time


class WindowGate(Protocol):
    """The windows of triggers and of the installation."""

    def waits_of(self, trigger: Any) -> WaitPolicy | Problem | None:
        """What makes changes of a trigger (its model) wait."""

    def closed_until(self, trigger: Any) -> datetime | None:
        """When the windows of a trigger (its model) open; None: they are open."""


class JobWindows:
    """Reads the windows of waiting Jobs."""

    def __init__(self, *, store: Store, gate: WindowGate) -> None:
        self._store = store
        self._gate = gate

    def bind(self, job: Snapshot | None) -> bool:
        """Whether a Job waits, and may start only inside windows."""
        return self._bound_trigger(job) is not None

    def closed_until(self, ref: Ref) -> datetime | None:
        """When a waiting Job may start; None: as soon as it has a slot."""
        trigger = self._bound_trigger(self._store.get(ref))
        return None if trigger is None else self._gate.closed_until(trigger)

    def _bound_trigger(self, job: Snapshot | None) -> Any:
        """The model of the trigger whose windows a Job waits for."""
        if job is None or not job.model.waits or starts_any_time(job.model):
            return None
        trigger = self._store.trigger(job.model.run.trigger_uid)
        if trigger is None or trigger.model is None:
            return None
        waits = self._gate.waits_of(trigger.model)
        return trigger.model if isinstance(waits, WaitPolicy) and waits.windows is not None else None
