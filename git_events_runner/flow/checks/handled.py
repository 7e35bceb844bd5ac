"""Scheduled times that were handled without a run, kept until the status of their trigger records them.

Only a source's own record is evidence. A check that finds no change writes at most once in ten minutes for each
trigger: that write has the times of all its sources, and one ten minutes later has those that were handled meanwhile.
Times that are lost with the process are checked again, once. The edit of a schedule is recorded in the same way: it
handles the times before it, but not one whose check is not over yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import FenceLost
from git_events_runner.flow.ports import DeferringStatusWriter
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Mutation, Touch, rfc3339
from git_events_runner.rules.ledger.stored_times import stored_time
from git_events_runner.rules.messages import CheckRequest, Fence

_COARSE_S = 600.0
_EDIT_S = 1.0
_PENDING_S = 5.0


@dataclass(slots=True)
class _Unwritten:
    """Times of one trigger, by source; `checked_at`: when the last of these checks ended."""

    ref: Ref
    fence: Fence | None
    times: dict[str, str] = field(default_factory=dict)
    checked_at: str | None = None
    timer: asyncio.TimerHandle | None = None


class HandledTimes:
    """Writes handled times, seldom."""

    def __init__(
        self,
        *,
        store: Store,
        writer: DeferringStatusWriter,
        pending: Callable[[str, str], bool],
        now: Callable[[], datetime],
    ) -> None:
        """`pending`: whether a check of a source (trigger uid, source) is under way or waits."""
        self._store = store
        self._writer = writer
        self._pending = pending
        self._now = now
        self._unwritten: dict[str, _Unwritten] = {}

    def note(self, request: CheckRequest, status: Mapping[str, Any]) -> list[Mutation]:
        """A check found no change; the handled times to write now, if `lastRun` in that status is old."""
        now = self._now()
        last_run = stored_time(status.get("lastRun"), now)
        age_s = (now - last_run).total_seconds() if last_run else _COARSE_S
        if request.due_at is None:
            return [Touch(at=rfc3339(now), answered={}, now=rfc3339(now))] if age_s >= _COARSE_S else []
        kept = self._kept(request.trigger, request.uid, request.fence)
        kept.times[request.source] = request.due_at
        kept.checked_at = rfc3339(now)
        self._arm(request.uid, _COARSE_S - age_s if age_s < _COARSE_S else _COARSE_S)
        if age_s < _COARSE_S:
            return []
        return [Touch(at=kept.checked_at, answered=self._open(kept, status), now=kept.checked_at)]

    def edited(self, ref: Ref, uid: str, source: str, at: datetime, fence: Fence) -> None:
        """The schedule of a source was edited at that time."""
        self._kept(ref, uid, fence).times[source] = rfc3339(at)
        self._arm(uid, _EDIT_S)

    def flush(self) -> None:
        """Pass everything to the writer: this process stops."""
        for uid in list(self._unwritten):
            self._write(uid)

    def _kept(self, ref: Ref, uid: str, fence: Fence | None) -> _Unwritten:
        kept = self._unwritten.setdefault(uid, _Unwritten(ref, fence))
        kept.fence = fence
        return kept

    def _arm(self, uid: str, after_s: float) -> None:
        kept, loop = self._unwritten.get(uid), asyncio.get_running_loop()
        if kept is None:
            return
        if kept.timer is not None:
            if kept.timer.when() <= loop.time() + after_s:
                return
            kept.timer.cancel()
        kept.timer = loop.call_later(after_s, self._write, uid)

    def _open(self, kept: _Unwritten, status: Mapping[str, Any]) -> dict[str, str]:
        """The times that the status does not record yet; the others are forgotten."""
        for source, text in list(kept.times.items()):
            entry, at = entry_of(status, source), timestamp(text)
            recorded = stored_time(entry.answered_at, self._now())
            if not entry.exists or at is None or (recorded is not None and recorded >= at):
                del kept.times[source]
        return dict(kept.times)

    def _write(self, uid: str) -> None:
        kept = self._unwritten.get(uid)
        if kept is None:
            return
        kept.timer = None
        snapshot = self._store.get(kept.ref)
        found = self._open(kept, snapshot.raw.get("status") or {}) if snapshot and snapshot.uid == uid else {}
        try:
            if kept.fence is not None:
                kept.fence.check()
        except FenceLost:  # the next leader checks what is not recorded
            found = {}
        if not found:
            del self._unwritten[uid]
            return
        ready = {source: text for source, text in found.items() if not self._pending(uid, source)}
        if ready:
            touch = Touch(at=kept.checked_at, answered=ready, now=rfc3339(self._now()))
            self._writer.defer(kept.ref, uid, touch, unwritten=lambda: self._arm(uid, _PENDING_S))
        self._arm(uid, _COARSE_S if ready == found else _PENDING_S)
