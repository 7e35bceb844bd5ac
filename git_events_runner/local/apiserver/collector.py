"""Clean-up behind deletions, as the garbage collector and the namespace controller of a cluster do it.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

import asyncio
from typing import Any

from git_events_runner.resources.kinds import KINDS, Kind

from .registry import Deletion, ObjectPath, Registry
from .storage import Change, Storage

_NAMESPACE = KINDS["Namespace"]


class Collector:
    """Deletes dependents whose owners are all deleted, and the content of namespaces being deleted."""

    def __init__(self, *, storage: Storage, registry: Registry, delay_s: float) -> None:
        self._storage = storage
        self._registry = registry
        self._delay_s = delay_s
        self._work = asyncio.Event()
        storage.listen(self._note)

    def _note(self, change: Change) -> None:
        metadata = change.obj["metadata"]
        new_dependent = change.type == "ADDED" and "ownerReferences" in metadata
        if change.type == "DELETED" or new_dependent or "deletionTimestamp" in metadata:
            self._work.set()

    async def run(self) -> None:
        """Collect shortly after each deletion, without end."""
        while True:
            await self._work.wait()
            await asyncio.sleep(self._delay_s)
            self._work.clear()
            self.collect()

    def collect(self) -> None:
        """Do one pass over all objects."""
        everything = [(kind, obj) for kind in KINDS.values() for obj in self._storage.items(kind)]
        living = {obj["metadata"]["uid"] for _, obj in everything}
        deleting = {_place(kind, obj): obj for kind, obj in everything if "deletionTimestamp" in obj["metadata"]}
        for place, obj in deleting.items():
            if place.kind is _NAMESPACE:
                self._empty(obj)
            else:
                self._finalise(place, obj, everything)
        for kind, obj in everything:
            owners = [one for one in obj["metadata"].get("ownerReferences") or () if one.get("kind") in KINDS]
            if owners and not any(owner["uid"] in living for owner in owners):
                self._delete(kind, obj)

    def _empty(self, namespace: dict[str, Any]) -> None:
        name = namespace["metadata"]["name"]
        content = [(kind, obj) for kind in KINDS.values() if kind.namespaced for obj in self._storage.items(kind, name)]
        for kind, obj in content:
            self._delete(kind, obj)
        if not any(self._storage.items(kind, name) for kind in KINDS.values() if kind.namespaced):
            if self._storage.get(_NAMESPACE, None, name) is not None:
                self._storage.remove(_NAMESPACE, None, name)
        else:
            self._work.set()

    def _finalise(self, place: ObjectPath, obj: dict[str, Any], everything: list[tuple[Kind, dict[str, Any]]]) -> None:
        """Serve the finalizers of foreground and orphaning deletion."""
        finalizers = obj["metadata"].get("finalizers") or []
        uid = obj["metadata"]["uid"]
        mine = [
            one for one in everything if any(o["uid"] == uid for o in one[1]["metadata"].get("ownerReferences") or ())
        ]
        if "orphan" in finalizers:
            for kind, dependent in mine:
                owners = [one for one in dependent["metadata"]["ownerReferences"] if one["uid"] != uid]
                self._storage.put(kind, {**dependent, "metadata": {**dependent["metadata"], "ownerReferences": owners}})
        elif "foregroundDeletion" in finalizers:
            if (obj.get("status") or {}).get("active"):
                return  # its pod is a process here, no object
            for kind, dependent in mine:
                self._delete(kind, dependent)
            if any(self._storage.get(k, d["metadata"].get("namespace"), d["metadata"]["name"]) for k, d in mine):
                return
        else:
            return
        rest = [one for one in finalizers if one not in {"orphan", "foregroundDeletion"}]
        self._registry.update(
            place, lambda old: {**old, "metadata": {**old["metadata"], "finalizers": rest}}, strict=False
        )

    def _delete(self, kind: Kind, obj: dict[str, Any]) -> None:
        place = _place(kind, obj)
        if self._storage.get(kind, place.namespace, place.name or "") is not None:
            self._registry.delete(place, Deletion(uid=obj["metadata"]["uid"]))


def _place(kind: Kind, obj: dict[str, Any]) -> ObjectPath:
    metadata = obj["metadata"]
    return ObjectPath(kind=kind, namespace=metadata.get("namespace"), name=metadata["name"])
