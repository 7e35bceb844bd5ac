"""Which waiting Jobs may start: the installation's limit, by age, never more than there are free slots.

A slot is held by an unsuspended Job that is neither finished, ending nor being deleted (`JobView.holds_slot`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref

_EPOCH = datetime.fromtimestamp(0, tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A Job of the installation, as the queue sees it."""

    ref: Ref
    job: JobView

    @property
    def waits(self) -> bool:
        """Whether it waits for us: suspended, alive, and not somebody else's to admit."""
        job = self.job
        ours = job.run is not None and not job.queued_elsewhere
        return ours and job.suspended and not (job.finished or job.deleting or job.ending)

    @property
    def turn(self) -> tuple[datetime, str, str]:
        """Order of admission: creation, then name."""
        return (self.job.created_at or _EPOCH, self.ref.name, self.ref.namespace or "")


def used_slots(jobs: Iterable[Queued], taken: Collection[Ref]) -> int:
    """Slots in use: Jobs that hold one, and those taken for a request whose outcome is not seen yet."""
    holding = {queued.ref for queued in jobs if queued.job.holds_slot}
    return len(holding | set(taken))


def next_admissions(
    jobs: Collection[Queued], *, limit: int, taken: Collection[Ref], held: Collection[Ref] = ()
) -> list[Queued]:
    """The waiting Jobs to admit now, oldest first; those `held` cannot start for a reason of their own."""
    free = limit - used_slots(jobs, taken)
    if free <= 0:
        return []
    return sorted((q for q in jobs if q.waits and q.ref not in taken and q.ref not in held), key=lambda q: q.turn)[
        :free
    ]


def may_start(jobs: Iterable[Queued], *, limit: int, taken: Collection[Ref], held: Collection[Ref] = ()) -> bool:
    """Whether a new Job may be made unsuspended: a slot is free and no older one that could start waits for it."""
    holding = set(taken)
    for queued in jobs:
        if queued.waits and queued.ref not in held:
            return False
        if queued.job.holds_slot:
            holding.add(queued.ref)
    return len(holding) < limit
