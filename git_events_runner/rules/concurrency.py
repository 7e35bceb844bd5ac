"""Which runs may not overlap: those of a group, of which `limit` may have a pod (`spec.concurrency`).

Group, limit and policy are those that a Job recorded when it was created. A Job is in its group until it no longer
exists: also while it is deleted and its pod ends. Every Job is also in the groups of its trigger and its source, so a
policy that is added to a trigger applies to its existing runs. The rules are those of `tests/model/concurrency.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from git_events_runner.resources.concurrency import Concurrency
from git_events_runner.resources.job import JobView
from git_events_runner.resources.queuemarks import ConcurrencyLimit, scope_groups
from git_events_runner.resources.ref import Ref

_Key = tuple[str, str]  # namespace and group


class Grouped(Protocol):
    """A run's Job, as input of the queue."""

    @property
    def ref(self) -> Ref:
        """The Job."""

    @property
    def job(self) -> JobView:
        """What it records."""

    @property
    def waits(self) -> bool:
        """Whether it waits for a slot."""


def limit_of(trigger: Ref, source: str, concurrency: Concurrency | None) -> ConcurrencyLimit | None:
    """What a new run of a trigger's source records; None: it may overlap with others."""
    if concurrency is None or concurrency.policy == "Allow":
        return None
    of_trigger, one = scope_groups(trigger.kind, trigger.name, source)
    group = concurrency.group or (of_trigger if concurrency.scope == "Trigger" else one)
    return ConcurrencyLimit(policy=concurrency.policy, group=group, limit=concurrency.limit)


def occupies(job: JobView) -> bool:
    """Whether a Job may have a pod: it was started and is not finished, also if it is to be deleted."""
    return not (job.finished or job.idle) and (not job.suspended or job.has_pods)


class Groups:
    """How many Jobs of each group may have a pod now, with those whose request is under way."""

    def __init__(self, jobs: Collection[Grouped], taken: Mapping[Ref, ConcurrencyLimit | None]) -> None:
        """`taken` are the slots whose Job may not be seen yet, with the limit that it records."""
        self._held: Counter[_Key] = Counter()
        self._limits: dict[_Key, int] = {}
        self._first: dict[tuple[str, str], int] = {}  # the oldest waiting run of a trigger's source
        seen: set[Ref] = set()
        for queued in jobs:
            if queued.ref in taken or occupies(queued.job):
                seen.add(queued.ref)
                self._add(queued.ref.namespace or "", groups_of(queued.job), queued.job.limit)
            if queued.waits and (run := queued.job.run) is not None:
                key = (run.trigger_uid, run.source)
                self._first[key] = min(run.number, self._first.get(key, run.number))
        for ref, limit in taken.items():
            if limit is not None and ref not in seen:
                self._add(ref.namespace or "", (limit.group,), limit)

    def _add(self, namespace: str, groups: Iterable[str], limit: ConcurrencyLimit | None) -> None:
        self._held.update((namespace, group) for group in groups)
        if limit is not None:
            key = (namespace, limit.group)
            self._limits[key] = min(limit.limit, self._limits.get(key, limit.limit))

    def has_room(self, namespace: str, limit: ConcurrencyLimit | None) -> bool:
        """Whether one more Job with that limit may start; the lowest limit of a group holds for all of it."""
        if limit is None:
            return True
        key = (namespace, limit.group)
        return self._held[key] < min(limit.limit, self._limits.get(key, limit.limit))

    def may_admit(self, queued: Grouped) -> bool:
        """Whether a waiting Job may start: its group has room, and no older run of its source waits."""
        run, limit = queued.job.run, queued.job.limit
        if limit is None or run is None:
            return True
        first = self._first.get((run.trigger_uid, run.source), run.number)
        return run.number <= first and self.has_room(queued.ref.namespace or "", limit)

    def admit(self, queued: Grouped) -> None:
        """Record that it starts."""
        self._add(queued.ref.namespace or "", groups_of(queued.job), queued.job.limit)


def waits_in_group(jobs: Iterable[Grouped], namespace: str, group: str) -> bool:
    """Whether a Job of the group waits: a new Job of the group then waits behind it."""
    return any(queued.waits and queued.ref.namespace == namespace and group in groups_of(queued.job) for queued in jobs)


def groups_of(job: JobView) -> frozenset[str]:
    """The groups that a Job is in: those of its trigger and source, and the one that it records."""
    scopes = scope_groups(job.trigger_kind, job.trigger_name, job.run.source) if job.run is not None else ()
    return frozenset((*scopes, job.limit.group) if job.limit is not None else scopes)
