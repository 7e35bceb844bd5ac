"""The in-process API server's memory: objects, one growing resource version, and the changes that watches read.

Everything is synchronous, so that one operation is atomic on the event loop; a stored object is replaced, never
changed.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.kinds import KINDS, Kind

from .refusal import Refusal, expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: `type` is ADDED, MODIFIED or DELETED; `before` is None for ADDED."""

    version: int
    kind: str
    type: str
    obj: Mapping[str, Any]
    before: Mapping[str, Any] | None


class Log:
    """The changes of one kind that watches may still request: at most `limit`, older ones are forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changes: list[Change] = []
        self._versions: list[int] = []
        self._forgotten = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self.closed = False

    def append(self, change: Change) -> None:
        """Add a change and wake all waiting tasks."""
        self._changes.append(change)
        self._versions.append(change.version)
        if len(self._changes) > self._limit * 2:
            self.forget(keep=self._limit)
        self.wake()

    def forget(self, *, keep: int = 0) -> None:
        """Drop all changes but the latest `keep`: watches from before them are too old."""
        cut = len(self._changes) - keep
        if cut > 0:
            self._forgotten = self._versions[cut - 1]
            del self._changes[:cut], self._versions[:cut]

    def close(self) -> None:
        """End all watches."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Let all waiting tasks check again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def after(self, version: int) -> list[Change]:
        """The changes newer than `version`, oldest first.

        Raises:
            Refusal: 410 when changes after that version have been forgotten.
        """
        if version < self._forgotten:
            raise too_old(version, self._forgotten)
        return self._changes[bisect_right(self._versions, version) :]

    async def wait(self, version: int, timeout_s: float) -> None:
        """Return when there may be something newer than `version`, or after `timeout_s` seconds."""
        if self.closed or version < self._forgotten or (self._versions and self._versions[-1] > version):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._waiting.discard(future)


def too_old(version: int, oldest: int) -> Refusal:
    """410 for a watch from a version whose changes are forgotten."""
    return expired(f"too old resource version: {version} ({oldest})")


class Storage:
    """All objects by kind, namespace ("" for cluster-scoped kinds) and name."""

    def __init__(self, *, history: int) -> None:
        self._objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {name: {} for name in KINDS}
        self._logs: dict[str, Log] = {name: Log(history) for name in KINDS}
        self._listeners: list[Callable[[Change], None]] = []
        self.version = 1

    def log(self, kind: Kind) -> Log:
        """The recent changes of a kind."""
        return self._logs[kind.name]

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` at every change, synchronously; it must not write."""
        self._listeners.append(listener)

    def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """The stored object, not to be changed; None when it is not there."""
        return self._objects[kind.name].get((namespace or "", name))

    def items(self, kind: Kind, namespace: str | None = None) -> list[dict[str, Any]]:
        """The objects of a kind by namespace and name; of all namespaces when None is given."""
        found = self._objects[kind.name]
        return [found[key] for key in sorted(found) if namespace is None or key[0] == namespace]

    def put(self, kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
        """Store an object under the next resource version; what is stored."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        before = self._objects[kind.name].get(key)
        self.version += 1
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self._objects[kind.name][key] = stored
        self._publish(kind, "MODIFIED" if before else "ADDED", stored, before)
        return stored

    def remove(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        """Remove an object; its last state, under the version of the removal."""
        before = self._objects[kind.name].pop((namespace or "", name))
        self.version += 1
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
        self._publish(kind, "DELETED", last, before)
        return last

    def _publish(self, kind: Kind, type_: str, obj: dict[str, Any], before: dict[str, Any] | None) -> None:
        change = Change(version=self.version, kind=kind.name, type=type_, obj=obj, before=before)
        self._logs[kind.name].append(change)
        for listener in self._listeners:
            listener(change)
