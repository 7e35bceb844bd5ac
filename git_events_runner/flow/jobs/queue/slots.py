"""Which slots are in use, which waiting Jobs are passed over for a while, and which namespace was served last."""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import datetime

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.admission import Queued, Slots, may_start, namespace_share, next_admissions, used_slots
from git_events_runner.rules.concurrency import occupies
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.starting import backs_off_until

from .windows import JobWindows

_FIRST_HOLD_S = 2.0
_LONGEST_HOLD_S = 60.0
ARRIVES_S = 60.0  # no request arrives later: its connection was closed after seven seconds


class SlotBook:
    """The queue's state, without I/O: its methods are synchronous and so atomic."""

    def __init__(
        self,
        *,
        store: Store,
        limit: Callable[[], int],
        share: Callable[[], int],
        weight: Callable[[str], int],
        windows: JobWindows,
        now: Callable[[], datetime],
    ) -> None:
        """`share` is what the runtime config allows one namespace (0: automatic), `weight` its turns in a round."""
        self._store = store
        self._limit = limit
        self._share = share
        self._weight = weight
        self._windows = windows
        self._now = now
        self.taken: dict[Ref, float] = {}  # since when; its Job may appear at any time
        self._limits: dict[Ref, ConcurrencyLimit] = {}  # what the Jobs record that are about to be created
        self._unknown: dict[Ref, float] = {}  # until when requests were sent whose outcome is unknown
        self._refused: set[Ref] = set()  # those whose last request was refused
        # Until when, and for how long: back-off of Jobs that cannot start.
        self._held: dict[Ref, tuple[float, float]] = {}
        self.leaving: set[Ref] = set()  # those under deletion
        self._runs: set[str] = set()  # uids of Jobs that were seen to be runs
        self._queued: dict[str, Queued] = {}  # by the Job's uid
        self._ownerless: list[Queued] = []  # started Jobs of deleted triggers, with a concurrency group
        self._backing_off: dict[Ref, datetime] = {}  # Jobs that did not start → when they may be tried again
        self._last: dict[str, int] = {}  # namespace → which admission its last one was
        self._admissions = 0
        self._several = False

    def runs(self) -> list[Queued]:
        """The runs that hold a slot or wait for one."""
        found = []
        self._ownerless = []
        for snapshot in self._store.unfinished_jobs():
            known = self._queued.get(snapshot.uid)
            if known is None or known.job is not snapshot.model:
                known = self._read(snapshot)
            if known is not None:
                found.append(known)
            elif self._is_ownerless(snapshot):
                self._ownerless.append(Queued(ref=snapshot.ref, job=snapshot.model))
        return found

    def _read(self, snapshot: Snapshot) -> Queued | None:
        """A Job as the queue sees it, None if it is not of the queue; cached until the Job changes."""
        if not self.is_run(snapshot):
            return None
        queued = self._queued[snapshot.uid] = Queued(ref=snapshot.ref, job=snapshot.model)
        if (until := backs_off_until(snapshot.model)) is not None:
            self._backing_off[snapshot.ref] = until
        return queued

    def _is_ownerless(self, snapshot: Snapshot) -> bool:
        """Whether a started Job is in a group though its trigger is deleted: an earlier leader gave it its slot.

        It takes no slot, as any Job whose content cannot be verified. In its group, which is that of its namespace, it
        only delays the runs of users who may delete it.
        """
        view = snapshot.model
        unknown = view.run is not None and self._store.trigger(view.run.trigger_uid) is None
        return unknown and view.limit is not None and occupies(view)

    def is_run(self, snapshot: Snapshot) -> bool:
        """Whether a Job is a run, or was seen to be one."""
        if snapshot.uid in self._runs:
            return True
        if owner_of(snapshot, self._store) is None:
            return False
        self._runs.add(snapshot.uid)
        return True

    def usage(self) -> tuple[int, int, int]:
        """The limit, how many runs wait, and how many slots are in use."""
        runs = self.runs()
        return self._limit(), sum(queued.waits for queued in runs), used_slots(runs, self.taken)

    def may_start(self, ref: Ref, now: float, limit: ConcurrencyLimit | None = None) -> bool:
        """Whether a Job about to be created may start without waiting; `limit` is what it records."""
        runs, slots, taken = self.runs(), self._slots(), self._limits_of_taken()
        others, held = self._ownerless, self.held(now)
        return may_start(ref, runs, slots=slots, taken=taken, held=held, limit=limit, ownerless=others)

    def next_admissions(self, now: float) -> list[Queued]:
        """The waiting Jobs to admit now."""
        runs, taken, held = self.runs(), self._limits_of_taken(), self.held(now)
        return next_admissions(runs, slots=self._slots(), taken=taken, held=held, ownerless=self._ownerless)

    def _limits_of_taken(self) -> dict[Ref, ConcurrencyLimit | None]:
        return {ref: self._limits.get(ref) for ref in self.taken}

    def occupy(self, ref: Ref, now: float, limit: ConcurrencyLimit | None = None) -> None:
        """A slot is in use from now on, and its namespace has had its turn; `limit` is what a new Job records."""
        if limit is not None:
            self._limits[ref] = limit
        if ref in self.taken and ref not in self._refused:
            self.doubt(ref, now)
        self._refused.discard(ref)
        self.taken[ref] = now
        self._admissions += 1
        self._last[ref.namespace or ""] = self._admissions

    def doubt(self, ref: Ref, now: float) -> None:
        """The outcome of a request that was sent by now is unknown: it may still arrive."""
        if ref in self.taken:
            self._unknown[ref] = now

    def is_starting(self, ref: Ref) -> bool:
        """Whether a slot is taken for a request that has no outcome yet, after none whose outcome is unknown."""
        return ref in self.taken and ref not in self._unknown

    def free(self, ref: Ref) -> None:
        """The slot is free, or its Job occupies it itself now."""
        self.taken.pop(ref, None)
        self._limits.pop(ref, None)
        self._unknown.pop(ref, None)
        self._refused.discard(ref)

    def give_back(self, ref: Ref, now: float) -> None:
        """The last request was refused; the slot is free unless an earlier one may still arrive."""
        found, since = self._store.get(ref), self._unknown.get(ref)
        if since is None or now - since >= ARRIVES_S or (found is not None and not found.model.waits):
            self.free(ref)
        else:
            self._refused.add(ref)

    def hold(self, ref: Ref, now: float) -> None:
        """Skip a Job for a time that doubles."""
        _, last_s = self._held.get(ref, (0.0, _FIRST_HOLD_S / 2))
        hold_s = min(last_s * 2, _LONGEST_HOLD_S)
        self._held[ref] = (now + hold_s, hold_s)

    def held(self, now: float) -> Container[Ref]:
        """The Jobs that are skipped: they cannot start, or their windows are closed."""
        held = self.leaving.union(ref for ref, (until, _) in self._held.items() if until > now)
        if self._backing_off:
            clock = self._now()
            held = held.union(ref for ref, until in self._backing_off.items() if until > clock)
        return _Held(frozenset(held), self._windows, self._store)

    def backs_off(self, ref: Ref) -> bool:
        """Whether a Job that did not start waits before it is tried again."""
        until = self._backing_off.get(ref)
        return until is not None and until > self._now()

    def is_closed(self, ref: Ref) -> bool:
        """Whether a waiting Job may not start now, because the windows of its trigger are closed."""
        return self._windows.closed_until(ref) is not None

    def count_namespaces(self) -> None:
        """Note whether triggers of several namespaces share the slots; forget the turns of those without triggers."""
        namespaces = self._store.namespaces(*TRIGGERS)
        self._last = {namespace: last for namespace, last in self._last.items() if namespace in namespaces}
        self._several = len(namespaces) > 1

    def prune(self) -> None:
        """Forget Jobs that are deleted."""
        self._held = {ref: held for ref, held in self._held.items() if self._store.get(ref) is not None}
        clock = self._now()
        self._backing_off = {ref: until for ref, until in self._backing_off.items() if until > clock}
        self._runs = {uid for uid in self._runs if self._store.by_uid("Job", uid) is not None}
        unfinished = {snapshot.uid for snapshot in self._store.unfinished_jobs()}
        self._queued = {uid: queued for uid, queued in self._queued.items() if uid in unfinished}

    def _slots(self) -> Slots:
        total = self._limit()
        each = namespace_share(total, self._share(), several=self._several)
        return Slots(total=total, each=each, weight=self._weight, last=self._last)


class _Held(Container[Ref]):
    """The Jobs that are skipped; windows are read only of the Jobs that would be next.

    Also those with a concurrency group that the watch has not shown yet: an older run of their source may exist that
    another replica created, and that it has not shown either (`shown_first` in tests/model/concurrency.py).
    """

    def __init__(self, refs: frozenset[Ref], windows: JobWindows, store: Store) -> None:
        self._refs = refs
        self._windows = windows
        self._store = store

    def __contains__(self, ref: object) -> bool:
        if ref in self._refs:
            return True
        return isinstance(ref, Ref) and (self._is_unshown(ref) or self._windows.closed_until(ref) is not None)

    def _is_unshown(self, ref: Ref) -> bool:
        job = self._store.get(ref)
        return job is not None and job.model.limit is not None and not self._store.is_shown(job)
