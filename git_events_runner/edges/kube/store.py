"""What this process knows of the cluster: objects by reference, written by informers, read by all rooms.

One writer for each kind and scope (`StoreWriter`), many readers (`Store`). Own writes are laid over it (`observe`),
compared by their integer resource version, so that a replica never reads older than its own last write; an object that
is known to be deleted is not brought back by a late answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.bounds import OBJECTS_OF_NAMESPACE_BYTES
from git_events_runner.resources.job import with_tracking
from git_events_runner.resources.kinds import KINDS, OURS, TRIGGERS
from git_events_runner.resources.ref import Ref

from .deleted_objects import DeletedObjects
from .doubtful_jobs import DoubtfulJobs, may_exist
from .scopes import Scopes
from .shares import Shares, weight_of
from .sizes import Sizes
from .snapshot import KEPT_METADATA, Snapshot, declares_the_same, ref_of, snapshot_of, version_number, version_of
from .subscription import Subscription


class Store:
    """The read side."""

    def __init__(
        self,
        *,
        share: Callable[[], int] = lambda: OBJECTS_OF_NAMESPACE_BYTES,
        doubts: DoubtfulJobs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`share` is how much memory the objects of our kinds in one namespace may take, in bytes.

        With `doubts`, Jobs that leave the watch before they ended stay until `confirm_deleted`, and those that lose the
        labels by which they are found are kept as if they had them.
        """
        self.doubts = doubts
        self.subscribers: list[Subscription] = []
        self.shares = Shares(share)
        self.sizes = Sizes()
        self.scopes = Scopes()
        self._objects: dict[str, dict[Ref, Snapshot]] = {kind: {} for kind in KINDS}
        self._by_uid: dict[str, dict[str, Ref]] = {kind: {} for kind in KINDS}
        self._jobs: dict[str, dict[str | None, dict[Ref, str]]] = {}  # by trigger uid and namespace
        self._unfinished: dict[Ref, None] = {}
        self._unfinished_of: dict[str, dict[Ref, None]] = {}  # by trigger uid
        self._deleted = DeletedObjects(clock)
        self._by_namespace: dict[str, dict[str, dict[Ref, None]]] = {kind: {} for kind in KINDS}
        self._synced: dict[str, asyncio.Event] = {kind: asyncio.Event() for kind in KINDS}
        self._scopes: dict[str, dict[str | None, bool]] = {kind: {} for kind in KINDS}
        self._list_versions: dict[str, dict[str | None, int]] = {kind: {} for kind in KINDS}  # by scope
        self._shown_versions: dict[str, dict[str | None, int]] = {kind: {} for kind in KINDS}

    def get(self, ref: Ref) -> Snapshot | None:
        """The object, or None."""
        return self._objects[ref.kind].get(ref)

    def all(self, kind: str, namespace: str | None = None) -> list[Snapshot]:
        """All objects of a kind, or those of one namespace."""
        objects = self._objects[kind]
        if namespace is None:
            return list(objects.values())
        return [objects[ref] for ref in self._by_namespace[kind].get(namespace, ())]

    def namespaces(self, *kinds: str) -> set[str]:
        """The namespaces that have objects of one of these kinds."""
        return {namespace for kind in kinds for namespace in self._by_namespace[kind]}

    def by_uid(self, kind: str, uid: str) -> Snapshot | None:
        """The object of that uid, or None."""
        ref = self._by_uid[kind].get(uid)
        return self._objects[kind].get(ref) if ref else None

    def trigger(self, uid: str) -> Snapshot | None:
        """The trigger of that uid, of either kind, or None."""
        return next((found for kind in TRIGGERS if (found := self.by_uid(kind, uid))), None)

    def jobs_of(self, trigger_uid: str, source: str | None = None) -> list[Snapshot]:
        """The Jobs whose run annotation names the trigger (and source), in the trigger's namespace.

        Any user can write an annotation: `rules/identity` decides which of them are runs.
        """
        jobs, trigger = self._objects["Job"], self.trigger(trigger_uid)
        places = self._jobs.get(trigger_uid) or {}
        found = places.values() if trigger is None else (places.get(trigger.ref.namespace) or {},)
        return [jobs[ref] for refs in found for ref, name in refs.items() if source in {None, name}]

    def unfinished_jobs(self, trigger_uid: str | None = None) -> list[Snapshot]:
        """The Jobs that have not ended (of those that name that trigger), however many that ended are kept."""
        refs = self._unfinished if trigger_uid is None else self._unfinished_of.get(trigger_uid, {})
        jobs = self._objects["Job"]
        return [jobs[ref] for ref in refs]

    def last_of(self, job_uid: str) -> Snapshot | None:
        """The last state of a Job that was deleted a short while ago: it may have ended just before."""
        return self._deleted.last_of(job_uid)

    def recently_deleted(self) -> list[Snapshot]:
        """The last states of all Jobs that were deleted a short while ago, the latest last."""
        return self._deleted.jobs()

    def lacks_namespace(self, name: str) -> bool:
        """Whether a namespace is known not to exist."""
        return self.synced("Namespace") and self.get(Ref("Namespace", None, name)) is None

    def refused(self, namespace: str | None, *kinds: str) -> bool:
        """Whether one of the kinds (without any: some kind) cannot be read in a namespace that exists.

        Then what is known of it may be old, and what is not known may exist.
        """
        return self.scopes.refused(namespace, *kinds) and not self.lacks_namespace(namespace or "")

    def passed_over(self, namespace: str, kind: str) -> bool:
        """Whether the kind has been refused in the namespace for long, or the namespace does not exist."""
        return self.scopes.passed_over(namespace, kind) or self.lacks_namespace(namespace)

    def synced(self, *kinds: str) -> bool:
        """Whether each kind was listed once, in all its scopes."""
        return all(self._synced[kind].is_set() for kind in kinds)

    async def wait_synced(self, *kinds: str) -> None:
        """Return when each kind was listed."""
        for kind in kinds:
            await self._synced[kind].wait()

    def subscribe(self, *kinds: str, declared: Collection[str] = ()) -> Subscription:
        """Collects changes of these kinds while entered.

        Of the kinds in `declared` only those of what an object declares: its spec, the labels of a Namespace.
        """
        return Subscription(self.subscribers, kinds=frozenset(kinds), declared=frozenset(declared))

    def observe(self, raw: Mapping[str, Any]) -> None:
        """Lay an answer of the API server (of a write, or a live read) over what is known, if it is newer.

        One that came so late that the last list is newer, and lacks the object, describes an object that was deleted.
        """
        kind = str(raw["kind"])
        ref, version = ref_of(raw, kind), version_of(raw)
        if ref in self._objects[kind] or not 0 < version <= self._list_version(ref):
            self._put_newer(raw, kind)

    def _list_version(self, ref: Ref) -> int:
        """The version of the last list that would have the object; 0: there was none."""
        versions = self._list_versions[ref.kind]
        return versions.get(ref.namespace, versions.get(None, 0))

    def is_shown(self, held: Snapshot) -> bool:
        """Whether the watch has come to the known version of an object, and so to all that was created before it."""
        versions = self._shown_versions[held.ref.kind]
        return held.version <= versions.get(held.ref.namespace, versions.get(None, 0))

    def found(self, raw: Mapping[str, Any]) -> None:
        """Lay a live read over what is known, also over the same version, or an object thought to be deleted."""
        metadata, kind = raw["metadata"], str(raw["kind"])
        ref = ref_of(raw, kind)
        self._deleted.discard(ref, metadata.get("uid") or "")
        held = self.get(ref)
        if held is not None and held.uid == metadata.get("uid"):  # the same version may be known without its labels
            self._objects[kind][ref] = replace(held, version=held.version - 1)
        self._put_newer(raw, kind)

    def confirm_deleted(self, ref: Ref, uid: str) -> None:
        """A live read shows that an object that left the watch does not exist any more."""
        held = self.get(ref)
        if held is not None and held.uid == uid:
            self._drop(held)

    def _identified(self, raw: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        """What is taken over of an object: of a run that lost labels by which it is found, with them."""
        held = self._objects["Job"].get(ref_of(raw, kind)) if self.doubts is not None and kind == "Job" else None
        if held is None or self.doubts is None or held.uid != raw["metadata"].get("uid") or held.model.run is None:
            return raw
        tracked = with_tracking(raw, held.model.labels, held.raw["metadata"]["annotations"])
        return tracked if tracked is not None and self.doubts.add(held.ref, held.uid) else raw

    def _put_newer(self, raw: Mapping[str, Any], kind: str) -> None:
        raw = self._identified(raw, kind)
        metadata = raw["metadata"]
        old = self._objects[kind].get(ref_of(raw, kind))
        if old is None or old.uid != metadata.get("uid"):
            self._put(snapshot_of(raw, kind))
        elif version_number(metadata.get("resourceVersion")) > old.version:  # most events are of an own write
            self._put(snapshot_of(raw, kind, old))

    def _expect(self, kind: str, scope: str | None) -> None:
        self._scopes[kind].setdefault(scope, False)

    def _listed(self, kind: str, scope: str | None) -> None:
        self._scopes[kind][scope] = True
        if all(self._scopes[kind].values()):
            self._synced[kind].set()

    def _put(self, new: Snapshot) -> None:
        old = self._objects[new.ref.kind].get(new.ref)
        if self._deleted.has(new.ref, new.uid):
            return
        if old is not None and old.uid == new.uid and new.version <= old.version - old.partial:
            return
        if old is not None and old.uid != new.uid:
            if new.version < old.version:
                return
            self._drop(old)
        if old is not None and old.uid == new.uid:
            self._unindex(old)  # the annotation may have been edited
        new = self._within_share(new)
        self._objects[new.ref.kind][new.ref] = new
        self.sizes.count(new.ref, new.model)
        self._by_namespace[new.ref.kind].setdefault(new.ref.namespace or "", {})[new.ref] = None
        self._by_uid[new.ref.kind][new.uid] = new.ref
        run = new.model.run if new.ref.kind == "Job" else None
        if run:
            self._jobs.setdefault(run.trigger_uid, {}).setdefault(new.ref.namespace, {})[new.ref] = run.source
        if new.ref.kind == "Job" and not new.model.finished:
            self._unfinished[new.ref] = None
            if run:
                self._unfinished_of.setdefault(run.trigger_uid, {})[new.ref] = None
        self._note(new.ref, declared=old is None or not declares_the_same(old, new))

    def _within_share(self, new: Snapshot) -> Snapshot:
        """The object, or what is kept of it when its namespace has no room for it."""
        namespace = new.ref.namespace
        if namespace is None or new.ref.kind not in OURS:
            return new
        if self.shares.admit(namespace, new.ref, weight_of(new.raw)):
            return new
        metadata = {name: new.raw["metadata"][name] for name in KEPT_METADATA if name in new.raw["metadata"]}
        problem = (
            "is not read: the objects of this namespace take more memory than policy.objectMebibytesPerNamespace allows"
        )
        return replace(
            new, raw={"metadata": metadata}, model=None, invalid=InvalidObject("spec", problem), partial=True
        )

    def _drop(self, old: Snapshot, last: Snapshot | None = None) -> None:
        kind = old.ref.kind
        del self._objects[kind][old.ref]
        self._by_uid[kind].pop(old.uid, None)
        self._unindex(old)
        namespace = old.ref.namespace or ""
        self.shares.drop(namespace, old.ref)
        self.sizes.drop(old.ref)
        self._deleted.add(old, last or old)
        others = self._by_namespace[kind][namespace]
        del others[old.ref]
        if not others:
            del self._by_namespace[kind][namespace]
        if self.doubts is not None and kind == "Job":
            self.doubts.discard(old.ref)
        self._note(old.ref, declared=True)

    def _unindex(self, old: Snapshot) -> None:
        run = old.model.run if old.ref.kind == "Job" else None
        self._unfinished.pop(old.ref, None)
        if run:
            unfinished = self._unfinished_of.get(run.trigger_uid, {})
            unfinished.pop(old.ref, None)
            if not unfinished:
                self._unfinished_of.pop(run.trigger_uid, None)
            places = self._jobs.get(run.trigger_uid, {})
            refs = places.get(old.ref.namespace, {})
            refs.pop(old.ref, None)
            if not refs:
                places.pop(old.ref.namespace, None)
            if not places:
                self._jobs.pop(run.trigger_uid, None)

    def _note(self, ref: Ref, *, declared: bool) -> None:
        for subscriber in self.subscribers:
            subscriber.note(ref, declared=declared)


class StoreWriter:
    """The write side of one kind, in one namespace or all: for its informer alone."""

    def __init__(self, store: Store, kind: str, *, namespace: str | None = None, optional: bool = False) -> None:
        """`optional`: the program works without this namespace while it is refused."""
        self._store = store
        self._kind = kind
        self._namespace = namespace
        self._optional = optional and namespace is not None
        store._expect(kind, namespace)  # noqa: SLF001  two halves of one object

    def replace(self, listed: Iterable[Mapping[str, Any]], *, version: str) -> None:
        """Take over a complete list: what is not in it is deleted, unless it was written after the list was made."""
        found = set(self.put_page(listed))
        deque(self.finish(found, version=version), maxlen=0)

    def put_page(self, listed: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Ref, str]]:
        """Take over a part of a list, an object with each step; which one it is."""
        for raw in listed:
            snapshot = snapshot_of(self._shown(raw), self._kind)
            self._store._put(snapshot)  # noqa: SLF001  two halves of one object
            yield snapshot.ref, snapshot.uid

    def finish(self, found: Collection[tuple[Ref, str]], *, version: str) -> Iterator[None]:
        """All parts of a list are taken over: what is in none of them is deleted, in steps.

        What is written between two steps is newer than the list, and stays.
        """
        listed = version_number(version)
        self._store._list_versions[self._kind][self._namespace] = listed  # noqa: SLF001  two halves of one object
        self.note_version(listed)
        yield from self._remove_all(
            lambda held: (held.ref, held.uid) not in found and held.version <= listed, self._removed
        )
        self.admit()

    @property
    def room(self) -> int:
        """Changes when objects that were kept in part may be kept completely, if they are listed again."""
        return self._store.shares.room

    def clear(self, why: str) -> Iterator[None]:
        """Nothing is there: the namespace does not exist. In steps. When it does, it is unknown until it is listed."""
        self.refuse(why)
        self.pass_over()
        yield from self._remove_all(lambda _: True, self._drop)

    def _remove_all(self, is_deleted: Callable[[Snapshot], bool], remove: Callable[[Snapshot], None]) -> Iterator[None]:
        """Remove what is, as of its step, deleted; then the scope is listed."""
        store = self._store
        for known in store.all(self._kind, self._namespace):
            held = store.get(known.ref)
            if held is not None and is_deleted(held):
                remove(held)
            yield
        store._listed(self._kind, self._namespace)  # noqa: SLF001  two halves of one object

    def refuse(self, why: str) -> None:
        """The API server refuses to show it: what is known stays."""
        if self._optional and self._store.scopes.refuse(self._namespace or "", self._kind, why):
            self._note()

    def pass_over(self) -> bool:
        """It is refused for long: nothing waits for it any more.

        False: the program cannot work without it, or it is not known yet whether the namespace exists.
        """
        passed = self._optional and self._store.synced("Namespace")
        if passed:
            self._store.scopes.pass_over(self._namespace or "", self._kind)
            self._store._listed(self._kind, self._namespace)  # noqa: SLF001  two halves of one object
        return passed

    def admit(self) -> None:
        """The API server shows it again."""
        if self._optional and self._store.scopes.admit(self._namespace or "", self._kind):
            self._note()

    def _note(self) -> None:
        """What names the namespace is concerned."""
        ref = Ref("Namespace", None, self._namespace or "")
        self._store._note(ref, declared=True)  # noqa: SLF001  two halves of one object

    def apply(self, raw: Mapping[str, Any]) -> None:
        """An object was added or modified."""
        self._store._put_newer(self._shown(raw), self._kind)  # noqa: SLF001  two halves of one object
        self.note_version(version_of(raw))

    def remove(self, raw: Mapping[str, Any]) -> None:
        """An object was deleted, or is not selected any more."""
        last = snapshot_of(self._store._identified(raw, self._kind), self._kind)  # noqa: SLF001  two halves of one object
        held = self._store.get(last.ref)
        if held is not None and held.uid == last.uid:
            self._removed(held, last)
        self.note_version(version_of(raw))

    def note_version(self, version: int) -> None:
        """The watch has come to this version."""
        versions = self._store._shown_versions[self._kind]  # noqa: SLF001  two halves of one object
        versions[self._namespace] = max(version, versions.get(self._namespace, 0))

    def _shown(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is taken over of an object that a list or a watch shows; one with all its labels is in no doubt."""
        shown = self._store._identified(raw, self._kind)  # noqa: SLF001  two halves of one object
        if shown is raw and self._kind == "Job" and self._store.doubts is not None:
            self._store.doubts.discard(ref_of(raw, self._kind))
        return shown

    def _removed(self, held: Snapshot, last: Snapshot | None = None) -> None:
        """An object is in no list, or left the watch (in the state `last`)."""
        doubts = self._store.doubts if self._kind == "Job" else None
        if doubts is None or not may_exist(held.model, (last or held).model) or not doubts.add(held.ref, held.uid):
            self._drop(held, last)
        elif last is not None:
            self._store._put(last)  # noqa: SLF001  two halves of one object

    def _drop(self, held: Snapshot, last: Snapshot | None = None) -> None:
        self._store._drop(held, last)  # noqa: SLF001  two halves of one object
