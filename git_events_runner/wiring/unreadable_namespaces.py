"""Reports served namespaces that cannot be read: in `/ready`, the log, a metric, and an Event of the ConfigMap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.resources.ref import Ref

log = structlog.get_logger(target="namespaces")

MISSING, REFUSED = "Missing", "Refused"
_EACH_S = 5.0
_NAMED = 10
_LINES = 50


class Metrics(Protocol):
    """Where their number is exported."""

    def namespaces_not_served(self, reason: str, number: int) -> None:
        """So many namespaces of the list cannot be read for that reason."""


class UnreadableNamespaces:
    """Reads every few seconds which of the served namespaces are refused, and which do not exist.

    What lasts no longer than from one time to the next is not reported: a namespace that is created gets its roles a
    moment later, and an API server that starts may refuse for a moment what it allows.
    """

    def __init__(
        self,
        *,
        served: Collection[str],
        store: Store,
        metrics: Metrics,
        announcer: EventRecorder,
        ref: Ref,
        note: Callable[[list[str]], None],
        none_served: Callable[[str | None], None],
    ) -> None:
        """`served`: the namespaces of the settings, none where all are watched together.

        `ref` is the object whose Events report them; `note` gets lines for `/ready`, `none_served` the reason why this
        replica is not ready while not one namespace can be read.
        """
        self._served = served
        self._store = store
        self._metrics = metrics
        self._announcer = announcer
        self._ref = ref
        self._note = note
        self._none_served = none_served
        self._reported: dict[str, str] = {}  # namespace → reason

    async def run(self) -> None:
        """Report until cancelled."""
        before = self._not_served()  # the start has waited for them
        while True:
            found = self._not_served()
            lasting = {name: reason for name, reason in found.items() if before.get(name) == reason}
            kept = {name: self._reported[name] for name in found if name in self._reported}
            self._report(kept | lasting)
            before = found
            await asyncio.sleep(_EACH_S)

    def _not_served(self) -> dict[str, str]:
        """The reason of each namespace that cannot be read."""
        found = {}
        for name in self._served:
            if self._store.lacks_namespace(name):
                found[name] = MISSING
            elif self._store.refused(name):
                found[name] = REFUSED
        return found

    def _report(self, found: dict[str, str]) -> None:
        for reason in (MISSING, REFUSED):
            self._metrics.namespaces_not_served(reason, list(found.values()).count(reason))
        lines = [f"namespace {name}: {self._why(name, reason)}" for name, reason in sorted(found.items())]
        more = [f"and {len(lines) - _LINES} more namespaces"] if len(lines) > _LINES else []
        self._note(lines[:_LINES] + more)
        all_of_them = bool(self._served) and len(found) == len(self._served)
        self._none_served("no namespace can be read" if all_of_them else None)
        news = sorted(name for name, reason in found.items() if self._reported.get(name) != reason)
        for name in sorted(self._reported.keys() - found.keys()):
            log.info("namespace.joined", namespace=name)
        for name in news:
            log.warning("namespace.refused", namespace=name, reason=found[name], error=self._why(name, found[name]))
        self._reported = found
        owner = self._store.get(self._ref)
        if news and owner is not None:
            named = "; ".join(f"{name}: {self._why(name, found[name])}" for name in news[:_NAMED])
            rest = f"; and {len(news) - _NAMED} more" if len(news) > _NAMED else ""
            note = f"not served, all others are: {named}{rest}"
            self._announcer.publish(self._ref, owner.uid, kind="Warning", reason="NamespaceNotServed", note=note)

    def _why(self, name: str, reason: str) -> str:
        if reason == MISSING:
            return "does not exist; it joins when it is created"
        why = self._store.scopes.why(name) or "refused"
        return f"cannot be read ({why}); it joins when the controller's roles are bound in it"
