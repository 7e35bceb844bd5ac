"""Work that several callers need once: the first of them does it, the others get its outcome."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

from git_events_runner.errors import GitError

from .protocol import RemoteRef
from .rate_limits import Turn

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)
Refs = tuple[Mapping[str, RemoteRef], float]
# Git reads 65,536 prefixes and then ignores them all; a request of so many names stays below 64 KiB.
_NAMES_AT_ONCE = 256


class SingleFlight(Generic[_T]):
    """Work that callers share. If the caller that does it is cancelled, the next one that waits repeats it."""

    __slots__ = ("__weakref__", "_error", "_lock", "_value", "done")

    def __init__(self, lock: asyncio.Lock) -> None:
        """With the same lock, several pieces of work are done one after another."""
        self._lock = lock
        self._value: _T | None = None
        self._error: GitError | None = None
        self.done = False

    async def get(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """The outcome, of `work` if it is not done yet.

        Raises:
            GitError: The work failed with it, for any of the callers.
        """
        if not self.done:
            async with self._lock:
                if not self.done:
                    try:
                        self._value = await work()
                    except GitError as error:
                        self._error = error
                    self.done = True
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._value  # type: ignore[return-value]  # work that did not fail has left a value

    def fail(self, error: GitError) -> None:
        """Give this error to all callers that share the work."""
        if not self.done:
            self._error, self.done = error, True


class Shared(SingleFlight[_T]):
    """An exchange for several namespaces; it is sent at the first turn of any of them."""

    __slots__ = ("namespaces", "turn")

    def __init__(self, lock: asyncio.Lock) -> None:
        super().__init__(lock)
        self.namespaces: set[str] = set()
        self.turn: Turn | None = None

    def join(self, namespace: str) -> None:
        """Add a namespace."""
        if self.turn is None:
            self.namespaces.add(namespace)
        else:
            self.turn.join(namespace)


class Batch(Shared[Refs]):
    """Requests to one repository that become one exchange; `urgent`: one of them must not back off."""

    __slots__ = ("began_at", "lane", "names", "urgent")

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane.lock)
        self.lane = lane
        self.names: set[str] = set()
        self.urgent = False
        self.began_at: float | None = None

    @property
    def full(self) -> bool:
        """Whether one more request needs another exchange."""
        return self.done or len(self.names) >= _NAMES_AT_ONCE


class Lane:
    """A namespace's requests to a repository: a batch is under way (it holds the lock), new ones join the next."""

    __slots__ = ("active", "key", "lock", "next")

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.active = 0
        self.lock = asyncio.Lock()
        self.next: Batch | None = None

    def batch(self) -> Batch:
        """The next to be sent."""
        if self.next is None or self.next.full:
            self.next = Batch(self)
        return self.next

    def leave(self, batch: Batch) -> None:
        """The batch is about to be sent: no request may join it any more."""
        if self.next is batch:
            self.next = None


class LruCache(Generic[_K, _T]):
    """The values used last, as many as weigh no more than `limit` together; a heavier one is not kept.

    If there are too many, the namespace that has most loses those that it used longest ago. A new value that is the
    only one of its namespace is kept if it takes no more than half.
    """

    def __init__(self, *, limit: int, weigh: Callable[[_T], int]) -> None:
        self._limit = limit
        self._weigh = weigh
        self._namespace_of: dict[_K, str] = {}
        self._values: dict[str, OrderedDict[_K, _T]] = {}
        self._weights: dict[str, int] = {}
        self.weight = 0

    def get(self, key: _K) -> _T | None:
        """The value, which counts as used now."""
        namespace = self._namespace_of.get(key)
        if namespace is None:
            return None
        values = self._values[namespace]
        values.move_to_end(key)
        return values[key]

    def put(self, key: _K, value: _T, namespace: str = "") -> None:
        """Keep it for a namespace, in place of values of the one that has most."""
        self.drop(key)
        if self._weigh(value) > self._limit:
            return
        self._namespace_of[key] = namespace
        self._values.setdefault(namespace, OrderedDict())[key] = value
        self._add(namespace, self._weigh(value))
        while self.weight > self._limit:
            self.drop(next(iter(self._values[self._most(namespace)])))

    def _most(self, own: str) -> str:
        """The namespace that has most; not the own one for its only value, unless that takes more than half."""
        kept = len(self._values[own]) == 1 and self._weights[own] * 2 <= self._limit
        return max((one for one in self._weights if one != own or not kept), key=self._weights.__getitem__)

    def drop(self, key: _K) -> None:
        """Forget it."""
        namespace = self._namespace_of.pop(key, None)
        if namespace is None:
            return
        values = self._values[namespace]
        self._add(namespace, -self._weigh(values.pop(key)))
        if not values:
            del self._values[namespace], self._weights[namespace]

    def _add(self, namespace: str, weight: int) -> None:
        self.weight += weight
        self._weights[namespace] = self._weights.get(namespace, 0) + weight
