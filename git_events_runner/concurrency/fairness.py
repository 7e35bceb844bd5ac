"""Fair shares by namespace: weighted round-robin, how many slots a namespace may hold, and whose values are dropped.

A namespace with weight 3 has three turns in a round, one with weight 1 (the default) has one. A namespace that has work
waits for at most one round, however much work the others have. The references are weighted round-robin (Katevenis,
1991) and dynamic thresholds (Choudhury and Hahne, 1998): a namespace may hold as much as is free, so that some is
always free for one that holds none.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)
Weight = Callable[[str], int]
Room = Callable[[str], int]


def equal(_: str) -> int:
    """The weight of every namespace while none is configured."""
    return 1


def no_room(_: str) -> int:
    """The room of every namespace in a cache that has its limit alone."""
    return 0


class RoundRobin(Generic[_T]):
    """Items by namespace, given out in weighted round-robin; each operation takes constant time.

    >>> queue = RoundRobin(weight=equal)
    >>> for item in ("a1", "a2", "a3", "b1"):
    ...     _ = queue.put(item[0], item)
    >>> [queue.pop() for _ in range(5)]
    [('a', 'a1'), ('b', 'b1'), ('a', 'a2'), ('a', 'a3'), None]
    """

    def __init__(self, *, weight: Weight, limit: int | None = None) -> None:
        """`limit` is the number of items that one namespace may have waiting; None means any number."""
        self._weight = weight
        self._limit = limit
        self._waiting: dict[str, deque[_T]] = {}
        self._round: deque[str] = deque()
        self._turns: dict[str, int] = {}
        self._size = 0

    def __len__(self) -> int:
        """Items of all namespaces."""
        return self._size

    def waiting(self, namespace: str) -> int:
        """Items of one namespace."""
        return len(self._waiting.get(namespace, ()))

    def put(self, namespace: str, item: _T) -> bool:
        """Append an item to those of its namespace; False if it has its limit of them (the item is not kept)."""
        items = self._waiting.get(namespace)
        if items is None:
            items = self._waiting[namespace] = deque()
            self._round.append(namespace)
        elif self._limit is not None and len(items) >= self._limit:
            return False
        items.append(item)
        self._size += 1
        return True

    def ahead(self, namespace: str) -> int:
        """How many items at most are taken before one that the namespace would put now."""
        own, weight = self.waiting(namespace), self._weight(namespace)
        rounds = own // weight + 1
        others = sum(
            min(len(items), rounds * self._weight(other))
            for other, items in self._waiting.items()
            if other != namespace
        )
        return own + others

    def discard(self, namespace: str, item: _T) -> None:
        """Remove an item, if it still waits."""
        items = self._waiting.get(namespace)
        if items is None or item not in items:
            return
        items.remove(item)
        self._size -= 1
        if not items:
            del self._waiting[namespace]
            self._round.remove(namespace)
            self._turns.pop(namespace, None)

    def pop(self, may: Callable[[str], bool] | None = None) -> tuple[str, _T] | None:
        """The next namespace and item; None if no item is left, or none of a namespace that `may` take.

        A namespace that may not take loses its turn; it is checked again in the next round.
        """
        for _ in range(len(self._round)):
            namespace = self._round[0]
            if may is None or may(namespace):
                return namespace, self._pop(namespace)
            self._turns.pop(namespace, None)
            self._round.rotate(-1)
        return None

    def _pop(self, namespace: str) -> _T:
        items = self._waiting[namespace]
        item = items.popleft()
        self._size -= 1
        turns = self._turns.pop(namespace, self._weight(namespace)) - 1
        if not items:
            del self._waiting[namespace]
            self._round.popleft()
        elif turns > 0:
            self._turns[namespace] = turns
        else:
            self._round.rotate(-1)
        return item


class Shares:
    """How many slots each namespace holds, and whether it may hold one more.

    A namespace may hold as many slots as are free, times its weight and `greed`, and never more than `each` times its
    weight. One namespace alone holds at most half of all slots, two hold a third each (with a greed of 3: three
    quarters, three sevenths each). The last free slot is only for a namespace that holds none.

    >>> shares = Shares(total=8, each=8, weight=equal)
    >>> while shares.may_acquire("a"):
    ...     shares.acquire("a")
    >>> shares.held("a"), shares.may_acquire("b")
    (4, True)
    """

    def __init__(self, *, total: int, each: int, weight: Weight, greed: int = 1) -> None:
        self._each = each
        self._greed = greed
        self._weight = weight
        self._held: dict[str, int] = {}
        self._free = total

    @property
    def free(self) -> int:
        """Slots that no namespace holds."""
        return self._free

    def held(self, namespace: str) -> int:
        """Slots that this namespace holds."""
        return self._held.get(namespace, 0)

    def may_acquire(self, namespace: str) -> bool:
        """Whether the namespace may hold one more slot."""
        held = self._held.get(namespace, 0)
        if not held:
            return self._free > 0
        return self._free > 1 and held < self._weight(namespace) * min(self._free * self._greed, self._each)

    def acquire(self, namespace: str) -> None:
        """Count one more slot for the namespace."""
        self._held[namespace] = self._held.get(namespace, 0) + 1
        self._free -= 1

    def give_back(self, namespace: str) -> None:
        """Count one slot less for the namespace."""
        left = self._held[namespace] - 1
        if left:
            self._held[namespace] = left
        else:
            del self._held[namespace]
        self._free += 1


_DROPPED_EACH = 2  # by one value that comes: as rooms become smaller, the values in them follow


class FairCache(Generic[_K, _T]):
    """Values by key, each kept for a namespace; when there are too many, those of the namespace that has most go first.

    So what one namespace brings in never drops what another one has within its share. In a namespace the value that was
    used longest ago is dropped first. With `room`, each namespace keeps as many values as its objects need, however
    many that are: values are dropped only while there are more than `limit`, and then those beyond a namespace's room.

    >>> cache = FairCache(limit=4)
    >>> for key in ("b1", "a1", "a2", "a3", "a4", "a5"):
    ...     cache.put(key[0], key, key.upper())
    >>> [key for key in ("b1", "a1", "a2", "a3", "a4", "a5") if cache.get(key)]
    ['b1', 'a3', 'a4', 'a5']
    """

    def __init__(self, *, limit: int, room: Room = no_room) -> None:
        """`limit` is the number of values in all namespaces, `room` how many one has in any case."""
        self._limit = limit
        self._room = room
        self._within = 0  # below this size no namespace has more than its room, as far as others observe
        self._namespace_of: dict[_K, str] = {}
        self._values: dict[str, OrderedDict[_K, _T]] = {}

    def __len__(self) -> int:
        """Values of all namespaces."""
        return len(self._namespace_of)

    def __iter__(self) -> Iterator[_K]:
        """The keys of all namespaces."""
        return iter(list(self._namespace_of))

    def get(self, key: _K) -> _T | None:
        """The value, which counts as used now."""
        namespace = self._namespace_of.get(key)
        if namespace is None:
            return None
        values = self._values[namespace]
        values.move_to_end(key)
        return values[key]

    def put(self, namespace: str, key: _K, value: _T) -> None:
        """Keep the value for that namespace, in place of one of its own or of the namespace that has most."""
        if self._namespace_of.get(key) == namespace:
            self._values[namespace][key] = value
            self._values[namespace].move_to_end(key)
            return
        self.pop(key)
        self._namespace_of[key] = namespace
        self._values.setdefault(namespace, OrderedDict())[key] = value
        for _ in range(_DROPPED_EACH):
            if len(self._namespace_of) <= self._limit or (most := self._beyond(namespace)) is None:
                return
            self.pop(next(iter(self._values[most])))

    def _beyond(self, own: str) -> str | None:
        """The namespace that has most beyond its room; the own one, if that has more than an equal share there."""
        have = len(self._values[own]) - self._room(own)
        if have <= 0 and len(self._namespace_of) < self._within:
            return None
        if have > 0 and len(self._values[own]) > 1 and have * len(self._values) > self._limit:
            return own
        beyond = {
            namespace: len(values) - self._room(namespace)
            for namespace, values in self._values.items()
            if namespace != own or len(values) > 1
        }
        most = max(beyond, key=beyond.__getitem__, default=own)
        found = beyond.get(most, 0) > 0
        self._within = 0 if found else len(self._namespace_of) + len(self._values)
        return most if found else None

    def pop(self, key: _K) -> _T | None:
        """Forget the value, and give it back."""
        namespace = self._namespace_of.pop(key, None)
        if namespace is None:
            return None
        values = self._values[namespace]
        value = values.pop(key)
        if not values:
            del self._values[namespace]
        return value

    def clear(self) -> None:
        """Forget all."""
        self._namespace_of.clear()
        self._values.clear()


def fair_order(waiting: Mapping[str, Sequence[_T]], held: Mapping[str, int], *, weight: Weight) -> Iterator[_T]:
    """The waiting items in the order in which free slots go to them, from what each namespace holds now.

    The next slot is for the namespace that holds least for its weight, and in it to its first item; on a tie to the
    namespace that `waiting` names first. The order depends on the present alone, so that a new leader continues it.

    >>> list(fair_order({"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]}, {"a": 1}, weight=equal))
    ['b1', 'a1', 'b2', 'a2', 'a3']
    """
    heap = [
        (held.get(namespace, 0) / weight(namespace), place, namespace, 0)
        for place, (namespace, items) in enumerate(waiting.items())
        if items
    ]
    heapq.heapify(heap)
    while heap:
        load, place, namespace, at = heap[0]
        yield waiting[namespace][at]
        if at + 1 < len(waiting[namespace]):
            heapq.heapreplace(heap, (load + 1 / weight(namespace), place, namespace, at + 1))
        else:
            heapq.heappop(heap)
