"""Ends of Jobs, reported once each: log line, metric, Events on the Job and its trigger."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.change import words_of
from git_events_runner.rules.endings import COMMIT_CHARS, ended
from git_events_runner.rules.identity import Owner, owner_of, run_of, series_labels
from git_events_runner.rules.lastjob import EXPIRED, is_recorded_expired
from git_events_runner.telemetry import Metrics

from .phases import LastPhases
from .ports import Announcer

log = structlog.get_logger(target="results")

_KEPT = 1000


class Outcomes:
    """Compares each Job that changed with what was known of it."""

    def __init__(
        self,
        *,
        store: Store,
        phases: LastPhases,
        announcer: Announcer,
        deleted_as: Callable[[str], str | None],
        metrics: Metrics,
    ) -> None:
        """`deleted_as` is the last phase of a Job, by its uid, that this process deletes."""
        self._store = store
        self._phases = phases
        self._announcer = announcer
        self._deleted_as = deleted_as
        self._metrics = metrics
        self._known: dict[str, Snapshot] = {}  # by uid: a pass over all of them hashes no reference
        self._uids: dict[Ref, str] = {}
        self._undecided: dict[Ref, str] = {}  # Jobs that may turn out to be runs → uid of the trigger
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._refused: frozenset[str] = frozenset()  # namespaces whose Jobs were refused at the last pass
        self._joining: frozenset[str] = frozenset()  # those whose Jobs are, or were then

    def begin(self) -> None:
        """Leadership begins: what has ended before is not reported."""
        self._known = {snapshot.uid: snapshot for snapshot in self._store.all("Job")}
        self._uids = {snapshot.ref: snapshot.uid for snapshot in self._known.values()}
        self._undecided.clear()
        self._refused = self._store.scopes.of("Job")
        self._gone = OrderedDict.fromkeys(snapshot.uid for snapshot in self._store.vanished())

    def begin_pass(self) -> None:
        """Jobs of a namespace that can be read again are known from then on, as at the start of a leadership."""
        refused = self._store.scopes.of("Job")
        self._joining, self._refused = self._refused | refused, refused

    def differing(self) -> list[Ref]:
        """The Jobs that are not as they were known, however that was missed."""
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
        """Report what ended or was deleted among these Jobs; the uids of the triggers concerned."""
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
        if before is None or (before.model.phase, before.model.deleting) != (view.phase, view.deleting):
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
        """It ended, or another party suspended it."""
        view: JobView = current.model
        if view.finished and (before is None or not before.model.finished):
            self._ended(current, owner)
        elif view.suspended_elsewhere and not view.deleting:
            self._suspended(current, owner)

    def _may_become_run(self, job: Snapshot) -> bool:
        """Whether the status that makes it a run may arrive after it."""
        trigger = self._store.trigger(job.model.run.trigger_uid) if job.model.run is not None else None
        return trigger is not None and trigger.ref.namespace == job.ref.namespace and not run_of(job, trigger)

    def _deleted(self, before: Snapshot, touched: set[str]) -> None:
        self._note_gone(before.uid)
        if (owner := owner_of(before, self._store)) is not None:
            touched.add(owner.trigger.uid)
            if not before.model.finished:
                self._note_vanished(before, owner)

    def _unseen(self, refs: set[Ref], touched: set[str]) -> None:
        """Report Jobs that were created and deleted between two passes."""
        for snapshot in self._store.vanished():
            if snapshot.ref in refs and snapshot.uid not in self._gone:
                self._note_gone(snapshot.uid)
                if (owner := owner_of(snapshot, self._store)) is not None:
                    touched.add(owner.trigger.uid)
                    self._note_vanished(snapshot, owner)

    def _note_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _KEPT:
            self._gone.popitem(last=False)

    def _note_vanished(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """It ended and was deleted in one moment (a TTL of 0), waited too long, or somebody deleted it."""
        last, status = self._store.last_of(snapshot.uid) or snapshot, owner.trigger.raw.get("status")
        if last.model.finished:
            phase = last.model.phase
            self._ended(last, owner)
        elif self._deleted_as(snapshot.uid) == EXPIRED or is_recorded_expired(status, owner.source, snapshot.ref.name):
            phase = EXPIRED
        else:
            phase = "Deleted"
            self._cancelled(snapshot, owner)
        self._phases.put(snapshot.ref.name, phase)

    def _ended(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        view: JobView = snapshot.model
        seconds = (view.ended_at - view.started_at).total_seconds() if view.ended_at and view.started_at else None
        succeeded = view.result == "Succeeded"
        labels = series_labels(snapshot, owner, self._store)
        self._metrics.job_ended(labels, snapshot.ref.namespace or "", "Succeed" if succeeded else "Failed", seconds)
        trigger = owner.trigger
        told = ended(snapshot.ref, view, owner.source)
        level = log.info if succeeded else log.warning
        level(
            "job.finished",
            kind=trigger.ref.kind,
            namespace=trigger.ref.namespace,
            name=trigger.ref.name,
            source=owner.source,
            job=snapshot.ref.name,
            commit=(view.commit or "")[:COMMIT_CHARS] or None,
            reason=view.reason if words_of(view.reason) else None,
            result=view.result,
            exit_code=view.failure.exit_code if view.failure else None,
            error=told.error,
            seconds=seconds,
        )
        if view.clone_exit is not None:
            self._announcer.publish(snapshot.ref, snapshot.uid, kind=told.kind, reason=told.reason, note=told.note)
        if owner.number is not None:
            self._announcer.publish(trigger.ref, trigger.uid, kind=told.kind, reason=told.reason, note=told.note)

    def _suspended(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """Another party suspended it: a person, or another controller."""
        log.info("job.suspended", namespace=snapshot.ref.namespace, job=snapshot.ref.name)
        note = (
            f"Job {snapshot.ref.name} was suspended by another party; its run waits until that Job's spec.suspend is "
            "set to false, git-events-runner does not resume it"
        )
        for ref, uid in ((owner.trigger.ref, owner.trigger.uid), (snapshot.ref, snapshot.uid)):
            self._announcer.publish(ref, uid, kind="Normal", reason="JobSuspended", note=note)

    def _cancelled(self, snapshot: Snapshot, owner: Owner[Snapshot]) -> None:
        """A Job that vanished unfinished: deleted by a person or with its Action; no new run (the guarantees page)."""
        labels = series_labels(snapshot, owner, self._store)
        self._metrics.job_ended(labels, snapshot.ref.namespace or "", "Deleted", None)
        log.info("job.cancelled", namespace=snapshot.ref.namespace, job=snapshot.ref.name)
        trigger = owner.trigger
        if owner.number is not None:
            note = f"Job {snapshot.ref.name} was deleted before it ended; its change does not run again"
            self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason="JobCancelled", note=note)
