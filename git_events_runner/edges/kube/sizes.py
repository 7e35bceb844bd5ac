"""How much the objects of each namespace configure, counted as they come and go: what is remembered of it has room.

A cache of a fixed size that is read in a cycle misses each time once the cycle is longer than it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from git_events_runner.resources.kinds import SOURCES, TRIGGERS
from git_events_runner.resources.ref import Ref

_TWICE = 2  # a credential that is replaced, or an edited URL, makes a second value of the same source for a while


class Sizes:
    """Sources and requests by namespace; each operation takes constant time."""

    def __init__(self) -> None:
        self._names: dict[Ref, int] = {}  # by trigger
        self._counted: set[Ref] = set()  # sources
        self._triggers: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._cluster_sources = 0

    def count(self, ref: Ref, model: Any) -> None:
        """Count an object in place of what was counted for it."""
        if ref.kind in TRIGGERS:
            names = len(model.spec.sources.names) if model is not None else 0
            old = self._names.get(ref)
            if old != names:
                self._names[ref] = names
                self._add(ref.namespace or "", names - (old or 0), new=old is None)
        elif ref.kind in SOURCES and ref not in self._counted:
            self._counted.add(ref)
            self._add_source(ref, 1)

    def drop(self, ref: Ref) -> None:
        """Count it no more."""
        if ref.kind in TRIGGERS:
            namespace, names = ref.namespace or "", self._names.pop(ref, None)
            if names is not None:
                self._requests[namespace] -= names
                self._triggers[namespace] -= 1
                if not self._triggers[namespace]:
                    del self._triggers[namespace], self._requests[namespace]
        elif ref in self._counted:
            self._counted.discard(ref)
            self._add_source(ref, -1)

    def triggers(self, namespace: str) -> int:
        """Its triggers."""
        return self._triggers[namespace]

    def objects(self) -> int:
        """Triggers and sources of all namespaces."""
        return len(self._names) + len(self._counted)

    def repositories(self, namespace: str) -> int:
        """How many repositories, as one credential sees them, its triggers may have requests for; twice that."""
        named = min(self._requests[namespace], self._cluster_sources)
        return _TWICE * (self._sources[namespace] + named)

    def requests(self, namespace: str) -> int:
        """How many references of repositories its triggers may have requests for; twice that."""
        return min(_TWICE * self._requests[namespace], self._triggers[namespace] * self.repositories(namespace))

    def _add(self, namespace: str, names: int, *, new: bool) -> None:
        self._requests[namespace] += names
        self._triggers[namespace] += new

    def _add_source(self, ref: Ref, number: int) -> None:
        if ref.namespace is None:
            self._cluster_sources += number
            return
        self._sources[ref.namespace] += number
        if not self._sources[ref.namespace]:
            del self._sources[ref.namespace]
