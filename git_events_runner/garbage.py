"""Garbage of cycles: a full collection stops the event loop while it walks all objects, 0.1 s at 5,000 triggers.

CPython collects its oldest generation whenever a quarter more has become old: status writes bring that about every few
minutes. What has survived one full collection is frozen here (`gc.freeze`), so that the next ones walk only what has
come since. References still free frozen objects; only cycles among them stay. Once there are twice as many frozen
objects as were alive, the next collection walks all of them. While the process loads its objects, almost all of which
stay, there is no full collection; then (`loaded`) they are frozen without a walk.
"""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Self

_FEW = 200_000  # so many are walked in less than a tenth of a second
_OLDEST = 2
_NEVER = 1_000_000_000
_LOADED_TIMES = 4  # the objects of leadership come in addition: a walk of all would stop its beginning


class FrozenSurvivors:
    """While entered, survivors of full collections are left out of the next ones."""

    def __init__(self, *, few: int = _FEW) -> None:
        """`few` is a number of objects that may always be frozen."""
        self._few = few
        self._most = few
        self._walks_all = True
        self._thresholds = gc.get_threshold()

    def __enter__(self) -> Self:
        """From the next full collection on; there is none by itself before `loaded`."""
        self._thresholds = gc.get_threshold()
        young, middle, _ = self._thresholds
        gc.set_threshold(young, middle, _NEVER)
        gc.callbacks.append(self._collected)
        return self

    def loaded(self) -> None:
        """What the process works with is there: it is frozen, and full collections begin."""
        gc.freeze()
        self._most = max(_LOADED_TIMES * gc.get_freeze_count(), self._few)
        self._walks_all = False
        gc.set_threshold(*self._thresholds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All objects are walked again."""
        gc.callbacks.remove(self._collected)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase != "stop" or info["generation"] < _OLDEST:
            return
        gc.freeze()
        frozen = gc.get_freeze_count()
        if self._walks_all:
            self._most = max(2 * frozen, self._few)
            self._walks_all = False
        elif frozen > self._most:
            gc.unfreeze()
            self._walks_all = True
