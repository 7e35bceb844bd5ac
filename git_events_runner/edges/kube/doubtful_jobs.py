"""Jobs that left the watch before they ended: they stay in the store until a live read shows their result.

A watch with a label selector reports an object that loses the label as deleted
(https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes). So a deletion of a run
that has not ended, or that has no TTL yet, shows nothing; nor does a run that lost other labels or annotations by
which it is found mean that it is no run any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from git_events_runner.concurrency.fairness import RoundRobin, equal
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref

FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_KEPT_EACH = 2000  # in one namespace


@dataclass(slots=True)
class _Doubt:
    uid: str
    due_at: float  # the loop's time
    failures: int = 0  # of reads, one after another


class DoubtfulJobs:
    """Which Jobs are to be read live, and when."""

    def __init__(self) -> None:
        self._doubts: dict[str, dict[Ref, _Doubt]] = {}  # by namespace
        self._came = asyncio.Event()

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(doubts) for doubts in self._doubts.values())

    def add(self, ref: Ref, uid: str) -> bool:
        """Have a Job read live now; False: its namespace has too many of them."""
        doubts = self._doubts.setdefault(ref.namespace or "", {})
        known = doubts.get(ref)
        if known is not None and known.uid == uid:
            return True
        if len(doubts) >= _KEPT_EACH:
            return False
        doubts[ref] = _Doubt(uid, 0.0)
        self._came.set()
        return True

    def discard(self, ref: Ref) -> None:
        """The Job is seen, or does not exist any more."""
        doubts = self._doubts.get(ref.namespace or "", {})
        if ref in doubts:
            del doubts[ref]
            if not doubts:
                del self._doubts[ref.namespace or ""]

    def delay(self, ref: Ref, until: float) -> None:
        """It was read: read it again at that time of the loop."""
        doubt = self._doubts.get(ref.namespace or "", {}).get(ref)
        if doubt is not None:
            doubt.due_at, doubt.failures = until, 0

    def back_off(self, ref: Ref, now: float) -> None:
        """It could not be read: read it again after a time that doubles."""
        doubt = self._doubts.get(ref.namespace or "", {}).get(ref)
        if doubt is not None:
            doubt.failures += 1
            doubt.due_at = now + delay_s(doubt.failures, first_s=FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)

    def hurry(self) -> None:
        """Read them all now."""
        for doubts in self._doubts.values():
            for doubt in doubts.values():
                doubt.due_at = 0.0
        self._came.set()

    def due(self, now: float) -> list[tuple[Ref, str]]:
        """Reference and uid of those to read now, namespaces in turn."""
        waiting: RoundRobin[tuple[Ref, str]] = RoundRobin(weight=equal)
        for namespace, doubts in self._doubts.items():
            for ref, doubt in doubts.items():
                if doubt.due_at <= now:
                    waiting.put(namespace, (ref, doubt.uid))
        found = []
        while (taken := waiting.pop()) is not None:
            found.append(taken[1])
        return found

    async def wait(self) -> None:
        """Return when a Job is to be read: a new one, or one whose scheduled time is reached."""
        self._came.clear()
        soonest = min((one.due_at for doubts in self._doubts.values() for one in doubts.values()), default=None)
        try:
            async with asyncio.timeout_at(soonest):
                await self._came.wait()
        except TimeoutError:
            return


def may_exist(held: JobView, last: JobView) -> bool:
    """Whether a Job of ours that left the watch, in the state `last`, may exist without its labels.

    One that was being deleted, or that ended and has a TTL, is not worth a request: nothing depends on it any more.
    """
    if held.run is None and not held.legacy:
        return False
    return not (last.deleting or (last.finished and (last.has_ttl or held.legacy)))
