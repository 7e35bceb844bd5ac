"""Compares Jobs with their known state, and passes each change to the observers once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.history import RunState
from git_events_runner.rules.identity import Owner, owner_of, run_of
from git_events_runner.rules.jobs.last_job import EXPIRED, is_recorded_expired
from git_events_runner.rules.jobs.lifecycle import DELETED, JobEnded, JobEvent, JobObserver, RunJob, change_of
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.overtaken import ended_as

from .phases import LastPhases

_KEPT = 1000


class Outcomes:
    """Compares each Job that changed with its known state."""

    def __init__(
        self,
        *,
        store: Store,
        phases: LastPhases,
        observers: Sequence[JobObserver],
        deleted_as: Callable[[str], str | None],
        now: Callable[[], datetime],
    ) -> None:
        """`deleted_as` is the last phase of a Job, by its uid, that this process deletes."""
        self._store = store
        self._phases = phases
        self._observers = observers
        self._deleted_as = deleted_as
        self._now = now
        self._known: dict[str, Snapshot] = {}  # by uid: a pass over all of them hashes no reference
        self._uids: dict[Ref, str] = {}
        self._undecided: dict[Ref, str] = {}  # Jobs that may turn out to be runs → uid of the trigger
        self._reported: BoundedDict[str, None] = BoundedDict(_KEPT)
        self._refused: frozenset[str] = frozenset()  # namespaces whose Jobs were refused at the last pass
        self._joining: frozenset[str] = frozenset()  # those whose Jobs are, or were then

    def begin(self) -> None:
        """Leadership begins: earlier ends are not reported."""
        self._known = {snapshot.uid: snapshot for snapshot in self._store.all("Job")}
        self._uids = {snapshot.ref: snapshot.uid for snapshot in self._known.values()}
        self._undecided.clear()
        self._refused = self._store.scopes.of("Job")
        self._reported.clear()
        for snapshot in self._store.recently_deleted():
            self._reported[snapshot.uid] = None

    def begin_pass(self) -> None:
        """Jobs of a namespace that can be read again are known from then on, as at the start of a leadership."""
        refused = self._store.scopes.of("Job")
        self._joining, self._refused = self._refused | refused, refused

    def differing(self) -> list[Ref]:
        """The Jobs that differ from their known state, also if the event was missed."""
        known = self._known
        current = self._store.all("Job")
        found = [snapshot.ref for snapshot in current if known.get(snapshot.uid) is not snapshot]
        if len(known) + len(found) > len(current):
            found += [snapshot.ref for uid, snapshot in known.items() if self._store.by_uid("Job", uid) is None]
        return found

    def undecided_of(self, triggers: Iterable[str]) -> list[Ref]:
        """The Jobs that may be runs of these triggers now, by their uids."""
        uids = set(triggers) if self._undecided else ()
        return [ref for ref, uid in self._undecided.items() if uid in uids]

    def compare(self, refs: Iterable[Ref]) -> set[str]:
        """Publish the changes of these Jobs; the uids of the triggers concerned."""
        touched: set[str] = set()
        replaced: set[Ref] = set()
        for ref in refs:
            before, current = self._known.get(self._uids.get(ref, "")), self._store.get(ref)
            if current is None or before is None or current.uid != before.uid:
                replaced.add(ref)
            if before is not None and (current is None or current.uid != before.uid):
                del self._known[before.uid], self._uids[ref]
                self._deleted(before, touched)
                before = None
            if current is None:
                self._undecided.pop(ref, None)
            else:
                self._changed(before, current, touched)
        if replaced:
            self._unseen(replaced, touched)
        return touched

    def _changed(self, before: Snapshot | None, current: Snapshot, touched: set[str]) -> None:
        view: JobView = current.model
        if before is None or _shown(before.model) != _shown(view):
            owner = owner_of(current, self._store)
            if owner is not None:
                touched.add(owner.trigger.uid)
                if before is not None or current.ref.namespace not in self._joining:
                    self._note_changed(before, current, owner)
        if before is not current and self._may_become_run(current) and view.run is not None:
            self._undecided[current.ref] = view.run.trigger_uid
        else:
            self._undecided.pop(current.ref, None)
            self._known[current.uid] = current
            self._uids[current.ref] = current.uid

    def _note_changed(self, before: Snapshot | None, current: Snapshot, owner: Owner[Snapshot]) -> None:
        run = RunJob.of(current, owner, self._store)
        event = change_of(before.model if before is not None else None, run)
        if event is not None:
            self._publish(event)

    def _may_become_run(self, job: Snapshot) -> bool:
        """Whether the status that makes it a run may arrive after it."""
        trigger = self._store.trigger(job.model.run.trigger_uid) if job.model.run is not None else None
        return trigger is not None and trigger.ref.namespace == job.ref.namespace and not run_of(job, trigger)

    def _deleted(self, before: Snapshot, touched: set[str]) -> None:
        self._reported[before.uid] = None
        if (owner := owner_of(before, self._store)) is not None:
            touched.add(owner.trigger.uid)
            if not before.model.finished:
                self._note_removed(before, owner)

    def _unseen(self, refs: set[Ref], touched: set[str]) -> None:
        """Publish the ends of Jobs that were created and deleted between two passes."""
        for snapshot in self._store.recently_deleted():
            if snapshot.ref in refs and snapshot.uid not in self._reported:
                self._reported[snapshot.uid] = None
                if (owner := owner_of(snapshot, self._store)) is not None:
                    touched.add(owner.trigger.uid)
                    self._note_removed(snapshot, owner)

    def _note_removed(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """It ended and was deleted immediately (a TTL of 0), waited too long, or was deleted by another party."""
        last, status = self._store.last_of(snapshot.uid) or snapshot, owner.trigger.raw.get("status")
        run = RunJob.of(last, owner, self._store)
        if last.model.finished:
            event = JobEnded.finished(run)
        elif is_recorded_expired(status, owner.source, snapshot.ref.name):
            event = JobEnded(run=run, result=EXPIRED)
        else:
            result = self._deleted_as(snapshot.uid) or ended_as(last.model, owner) or DELETED
            event = JobEnded(run=run, result=result)
        self._publish(event)
        state = RunState.of(last.model, phase=event.result)
        if state.finished is None:
            state = replace(state, finished=rfc3339(self._now()))
        self._phases.put(snapshot.ref.name, state)

    def _publish(self, event: JobEvent) -> None:
        for observer in self._observers:
            observer.observe(event)


def _shown(view: JobView) -> tuple[str, bool, bool]:
    """What a status shows of a Job, and whether one that was suspended again has started."""
    return view.phase, view.deleting, view.pod_started and view.suspensions.requeues > 0
