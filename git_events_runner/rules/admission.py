"""Which waiting Jobs may start: the installation's limit and the namespaces' shares, in fair turns, oldest first.

A slot is held by an unsuspended Job that is neither finished, ending nor being deleted (`JobView.holds_slot`). Only
runs of triggers hold one or wait for one; `rules/identity` decides which Jobs are runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter

from git_events_runner.concurrency.fairness import Weight, equal, fair_order
from git_events_runner.resources.job import JobView
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref

from .concurrency import Groups, waits_in_group
from .starting import queued_at

_EPOCH = datetime.fromtimestamp(0, tz=UTC)
_turn = attrgetter("turn")
# Slots whose request is under way; a mapping has the limit that each Job records.
Taken = Collection[Ref] | Mapping[Ref, ConcurrencyLimit | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A run's Job, as input of the queue.

    `waits` is whether it waits for a slot: alive, and suspended by us alone. `turn` is the order of admission in a
    namespace: creation, then name. They are read for all waiting Jobs at each change, so they are computed once.
    """

    ref: Ref
    job: JobView
    namespace: str = field(init=False)
    waits: bool = field(init=False)
    holds_slot: bool = field(init=False)
    turn: tuple[datetime, str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Compute what follows from the Job; `namespace` is the one whose share it uses."""
        namespace = self.ref.namespace or ""
        for name, value in (
            ("namespace", namespace),
            ("waits", self.job.waits),
            ("holds_slot", self.job.holds_slot),
            ("turn", (queued_at(self.job) or _EPOCH, self.ref.name, namespace)),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The number of slots, how many of them one namespace may hold, and the order of namespaces.

    `last` is a number for each namespace that rises with its last admission. Of two namespaces that hold the same
    number of slots, the one with the earlier last admission comes first.
    """

    total: int
    each: int
    weight: Weight = equal
    last: Mapping[str, int] = field(default_factory=dict)


def namespace_share(total: int, configured: int, *, several: bool) -> int:
    """How many slots one namespace may hold; 0 is automatic: a quarter stays free of it if there are several.

    >>> [namespace_share(16, configured, several=several) for configured, several in ((0, True), (0, False), (5, True))]
    [12, 16, 5]
    """
    if configured:
        return min(configured, total)
    return max(total * 3 // 4, 1) if several else total


def held_slots(jobs: Iterable[Queued], taken: Collection[Ref]) -> Counter[str]:
    """Slots in use by namespace: of runs that hold one, and of requests whose outcome is not known yet."""
    holding = {queued.ref for queued in jobs if queued.holds_slot}
    return Counter(ref.namespace or "" for ref in holding | set(taken))


def used_slots(jobs: Iterable[Queued], taken: Collection[Ref]) -> int:
    """Slots in use in the installation."""
    return held_slots(jobs, taken).total()


def next_admissions(
    jobs: Collection[Queued],
    *,
    slots: Slots,
    taken: Taken,
    held: Container[Ref] = (),
    ownerless: Collection[Queued] = (),
) -> list[Queued]:
    """The waiting Jobs to admit now; those in `held` cannot start for a reason of their own.

    `ownerless` are started Jobs of deleted triggers: no runs, but in their group.

    A free slot is given to the namespace that holds least for its weight, to its oldest Job whose group has room.
    """
    holding = held_slots(jobs, taken)
    free = slots.total - holding.total()
    if free <= 0:
        return []
    groups = _groups(jobs, taken, ownerless)
    waiting: dict[str, list[Queued]] = {}
    for queued in jobs:
        if queued.waits:
            waiting.setdefault(queued.namespace, []).append(queued)
    oldest: dict[str, list[Queued]] = {}
    for namespace, found in waiting.items():
        found.sort(key=_turn)
        able = (queued for queued in found if queued.ref not in taken and queued.ref not in held)
        eligible = able if groups is None else _with_room(able, groups)
        if first := list(islice(eligible, max(min(slots.each - holding[namespace], free), 0))):
            oldest[namespace] = first
    rooms = dict(sorted(oldest.items(), key=lambda one: (slots.last.get(one[0], 0), one[1][0].turn)))
    return list(islice(fair_order(rooms, holding, weight=slots.weight), free))


def may_start(
    new: Ref,
    jobs: Collection[Queued],
    *,
    slots: Slots,
    taken: Taken,
    held: Container[Ref] = (),
    limit: ConcurrencyLimit | None = None,
    ownerless: Collection[Queued] = (),
) -> bool:
    """Whether a new Job may be created unsuspended: its namespace has a free slot, and none that could start waits.

    A Job whose slot is `taken` waits only for its request, which may take minutes. With a `limit` its group must also
    have room, and no Job of the group may wait.
    """
    holding = held_slots(jobs, taken)
    namespace = new.namespace or ""
    if holding.total() >= slots.total or holding[namespace] >= slots.each:
        return False
    groups = _groups(jobs, taken, ownerless, limit)
    if limit is not None and groups is not None and not groups.has_room(namespace, limit):
        return False
    if limit is not None and waits_in_group(jobs, namespace, limit.group):
        return False
    return not any(
        queued.waits
        and queued.ref not in taken
        and queued.ref not in held
        and holding[queued.namespace] < slots.each
        and (groups is None or groups.may_admit(queued))
        for queued in jobs
    )


def _groups(
    jobs: Collection[Queued], taken: Taken, ownerless: Collection[Queued], limit: ConcurrencyLimit | None = None
) -> Groups | None:
    """The groups, if any Job that waits or is new has a limit."""
    if limit is None and not any(queued.waits and queued.job.limit is not None for queued in jobs):
        return None
    return Groups([*jobs, *ownerless], taken if isinstance(taken, Mapping) else dict.fromkeys(taken))


def _with_room(able: Iterable[Queued], groups: Groups) -> Iterator[Queued]:
    for queued in able:
        if groups.may_admit(queued):
            groups.admit(queued)
            yield queued
