"""Requests that are recorded and not handled: their replica died, or git did not respond in time.

Each replica checks those that are open when it starts (`resume`), the leader those that stay open (`sweep`). How
long one has been open is read from the status, so that it continues after restarts and changes of leader. An extra
check is harmless: the ledger creates one Job per run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.rules.annotated import has_requests
from git_events_runner.rules.identity import is_watched
from git_events_runner.rules.ledger.entry import Entry, entry_of
from git_events_runner.rules.ledger.stored_times import stored_time
from git_events_runner.rules.messages import CheckRequest, Fence
from git_events_runner.rules.reference_entries import Listed, keys_of
from git_events_runner.rules.references import reference_of

log = structlog.get_logger(target="requests")

OPEN_S = 8.0  # a check takes less than a second, and its record up to five more
AGAIN_S = 24.0
_FIRST = 16
_SPACING_S = 0.05

_Key = tuple[str, str, int]


class OpenRequests:
    """Submits the checks of open requests."""

    def __init__(
        self,
        *,
        store: Store,
        submit: Callable[[CheckRequest], None],
        pending: Callable[[str, str], bool],
        now: Callable[[], datetime],
    ) -> None:
        """`pending`: whether a check of a source (trigger uid, source) is under way or waits here."""
        self._store = store
        self._submit = submit
        self._pending = pending
        self._now = now
        self._slices = Slices()
        self._since: dict[_Key, float] = {}  # the loop's time when it was first seen open, or swept last
        self._swept: set[_Key] = set()

    async def resume(self) -> None:
        """Check what is open now; the first ones immediately, the others a few at a time."""
        loop, number = asyncio.get_running_loop(), 0
        for known in (one for kind in TRIGGERS for one in self._store.all(kind)):
            await self._slices.rest()
            for trigger, source, _ in self._open_of(known):
                log.info("request.resumed", **_fields(trigger), source=source)
                request = _request(trigger, source, None)
                loop.call_later(max(number - _FIRST, 0) * _SPACING_S, self._submit_open, request)
                number += 1

    def begin(self) -> None:
        """Leadership begins: earlier sweeps are unknown."""
        self._since.clear()
        self._swept.clear()

    async def sweep(self, fence: Fence) -> None:
        """Check requests that have been open for long, repeatedly until they are handled."""
        loop_now, now = asyncio.get_running_loop().time(), self._now()
        seen: set[_Key] = set()
        for known in (one for kind in TRIGGERS for one in self._store.all(kind)):
            await self._slices.rest()
            for trigger, source, entry in self._open_of(known):
                key = (trigger.uid, source, entry.handled + entry.run_handled)
                seen.add(key)
                since = self._since.setdefault(key, loop_now)
                waited_s = loop_now - since
                if key not in self._swept:
                    announced = stored_time(entry.announced.at, now) if entry.announced else None
                    waited_s = max(waited_s, (now - announced).total_seconds() if announced else 0.0)
                if waited_s < (AGAIN_S if key in self._swept else OPEN_S) or self._pending(trigger.uid, source):
                    continue
                self._since[key] = loop_now
                self._swept.add(key)
                log.info("request.swept", **_fields(trigger), source=source)
                self._submit(_request(trigger, source, fence))
        self._since = {key: since for key, since in self._since.items() if key in seen}
        self._swept &= seen

    def _open_of(self, known: Snapshot) -> Iterator[tuple[Snapshot, str, Entry]]:
        """Those of a trigger as it is now; none if it is deleted.

        Only of the sources in its spec: a status may have thousands of others, which no check would handle.
        """
        trigger = self._store.get(known.ref)
        if trigger is None or trigger.uid != known.uid or trigger.model is None:
            return
        status = trigger.raw.get("status") or {}
        if not (trigger.ref.kind == "WebhookTrigger" or has_requests(status)):
            return
        for source in _keys(trigger) if status else ():
            entry = entry_of(status, source)
            if _is_open(trigger, source, entry):
                yield trigger, source, entry

    def _submit_open(self, request: CheckRequest) -> None:
        """Request the check unless it was handled, or is pending, meanwhile."""
        trigger = self._store.get(request.trigger)
        if trigger is None or trigger.uid != request.uid or self._pending(request.uid, request.source):
            return
        entry = entry_of(trigger.raw.get("status"), request.source)
        if _is_open(trigger, request.source, entry):
            self._submit(request)


def _keys(trigger: Snapshot) -> list[str]:
    """The sources of a trigger, and those of their references that have an entry and are watched."""
    sources, status = trigger.model.spec.sources, trigger.raw.get("status")
    names = list(sources.names)
    if sources.watch_on.references is None:
        return names
    return names + [key for name in names for key in keys_of(status, name) if is_watched(trigger, key)]


def _is_open(trigger: Snapshot, source: str, entry: Entry) -> bool:
    """Whether a check would handle anything: while its trigger is suspended, only runs that were requested.

    References that were never listed are listed as if requested: what exists then does not run later.
    """
    spec = trigger.model.spec if trigger.model is not None else None
    if spec is not None and spec.suspend:
        return entry.run_is_due
    if spec is not None and spec.sources.watch_on.references is not None and reference_of(source) is None:
        return entry.is_open or Listed.of(trigger.raw.get("status"), source).at is None
    return entry.is_open


def _request(trigger: Snapshot, source: str, fence: Fence | None) -> CheckRequest:
    return CheckRequest(trigger=trigger.ref, uid=trigger.uid, source=source, due_at=None, fence=fence)


def _fields(trigger: Snapshot) -> dict[str, Any]:
    return {"kind": trigger.ref.kind, "namespace": trigger.ref.namespace, "name": trigger.ref.name}
