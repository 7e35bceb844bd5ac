"""A dictionary that keeps the entries that were set last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")


class BoundedDict(OrderedDict[_K, _T]):
    """As many entries as `limit`, the one set longest ago first; each operation takes constant time.

    What has to be shared fairly by namespaces is kept in a `fairness.FairCache`.

    >>> kept = BoundedDict(2)
    >>> for key in "abac":
    ...     kept[key] = key.upper()
    >>> dict(kept)
    {'a': 'A', 'c': 'C'}
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: _K, value: _T) -> None:
        """Set an entry, which is then the newest; the oldest one is dropped if there are too many."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._limit:
            self.popitem(last=False)
