"""Memory that the objects of each namespace take in the store: a tenant's large specs must not end the process.

JSON of a mebibyte with many small parts takes twenty as Python objects. What a namespace has beyond its share is kept
without spec and status, as an invalid object with this problem.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import orjson

_DICT, _LIST, _VALUE = 200, 60, 150  # measured, with the models made of them


def weight_of(value: Any) -> int:
    """About how many bytes of memory a JSON value takes with its model, counted in its text, which is quick.

    Commas, braces and brackets in texts count too: they make it heavier than it is, never lighter.

    >>> weight_of({"a": ["b"]}) < 1000 < weight_of({"a": ["b"] * 20})
    True
    """
    try:
        text = orjson.dumps(value)
    except TypeError:  # from a manifest that no API server has stored
        text = repr(value).encode("utf-8", "surrogatepass")
    return len(text) + _DICT * text.count(b"{") + _LIST * text.count(b"[") + _VALUE * text.count(b",")


class Shares:
    """Adds up what each namespace's objects weigh."""

    def __init__(self, share: Callable[[], int]) -> None:
        """`share` is how much one namespace may have, in bytes."""
        self._share = share
        self._weights: dict[Hashable, int] = {}
        self._totals: dict[str, int] = {}
        self._without: dict[str, set[Hashable]] = {}
        self.room = 0  # how often room was made in a namespace that has objects beyond its share

    def admit(self, namespace: str, key: Hashable, weight: int) -> bool:
        """Count an object in place of what was counted for it; False: it is beyond the share and is not counted."""
        self.drop(namespace, key)
        total = self._totals.get(namespace, 0) + weight
        if total > self._share():
            self._without.setdefault(namespace, set()).add(key)
            return False
        self._totals[namespace] = total
        self._weights[key] = weight
        return True

    def drop(self, namespace: str, key: Hashable) -> None:
        """Count it no more: there may be room for one that had none."""
        weight = self._weights.pop(key, 0)
        if weight:
            self._totals[namespace] -= weight
            if not self._totals[namespace]:
                del self._totals[namespace]
        without = self._without.get(namespace)
        if without is not None:
            without.discard(key)
            self.room += bool(weight)
            if not without:
                del self._without[namespace]
