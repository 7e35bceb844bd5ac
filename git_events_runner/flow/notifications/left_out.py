"""Triggers with more Notifiers than report them: recorded as a condition of those that are left out."""

from __future__ import annotations

from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.selection import NOTIFIERS_MAX

from .conditions import NotifierConditions
from .selected import Selected


class LeftOut:
    """Finds them; without so many Notifiers it reads no trigger."""

    def __init__(self, *, store: Store, selected: Selected, conditions: NotifierConditions) -> None:
        self._store = store
        self._selected = selected
        self._conditions = conditions
        self._slices = Slices()

    async def check(self, notifiers: list[Snapshot]) -> None:
        """Have each Notifier record which triggers it selects and does not report."""
        found: dict[str, list[Ref]] = {}
        if len(notifiers) > NOTIFIERS_MAX:
            for trigger in [each for kind in TRIGGERS for each in self._store.all(kind)]:
                await self._slices.rest()
                for notifier in self._selected.left_out(notifiers, trigger.ref):
                    found.setdefault(notifier.uid, []).append(trigger.ref)
        for notifier in notifiers:
            await self._conditions.limited(notifier, found.get(notifier.uid, []))
