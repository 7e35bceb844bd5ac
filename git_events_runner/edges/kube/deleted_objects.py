"""What was deleted a short while ago: late answers must not bring it back, and the last state of Jobs is read later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from git_events_runner.concurrency.fairness import FairCache
from git_events_runner.resources.ref import Ref

from .snapshot import Snapshot

_DELETED_KEPT = 4096
_LAST_KEPT = 512
_TIMED = 4 * _DELETED_KEPT  # of more the caches decide alone, by namespace
_KEPT_S = 300.0  # every answer about a deleted object has arrived by then


class DeletedObjects:
    """Of each namespace those that were deleted last, for some minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at: FairCache[tuple[Ref, str], float] = FairCache(limit=_DELETED_KEPT)
        self._last: FairCache[str, Snapshot] = FairCache(limit=_LAST_KEPT)  # Jobs, by uid
        self._order: deque[tuple[float, Ref, str]] = deque()

    def __len__(self) -> int:
        """Objects that are known to be deleted."""
        return len(self._at)

    def add(self, held: Snapshot, last: Snapshot) -> None:
        """An object was deleted; `last` is its last state, which the deletion showed."""
        namespace, now = held.ref.namespace or "", self._clock()
        self._at.put(namespace, (held.ref, held.uid), now)
        if held.ref.kind == "Job":
            self._last.put(namespace, held.uid, last)
        self._order.append((now, held.ref, held.uid))
        while self._order[0][0] <= now - _KEPT_S or len(self._order) > _TIMED:
            at, ref, uid = self._order.popleft()
            if at <= now - _KEPT_S and self._at.get((ref, uid)) == at:  # else it was there again meanwhile
                self._at.pop((ref, uid))
                self._last.pop(uid)

    def has(self, ref: Ref, uid: str) -> bool:
        """Whether an object is known to be deleted."""
        return self._at.get((ref, uid)) is not None

    def discard(self, ref: Ref, uid: str) -> None:
        """It exists, as a live read shows."""
        self._at.pop((ref, uid))

    def last_of(self, uid: str) -> Snapshot | None:
        """The last state of a Job."""
        return self._last.get(uid)

    def jobs(self) -> list[Snapshot]:
        """The last states of Jobs, the latest deletion last."""
        return [last for uid in self._last if (last := self._last.get(uid)) is not None]
