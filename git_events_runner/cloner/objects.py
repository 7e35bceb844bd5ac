"""The objects that a clone has, in one pack or in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .pack import Pack


class Objects(Protocol):
    """What is read of a pack; see `Pack`."""

    id_bytes: int

    def __contains__(self, object_id: bytes) -> bool:
        """Whether an object of that id is there."""

    def kind(self, object_id: bytes) -> int | None:
        """The kind of an object, None if there is none."""

    def read(self, object_id: bytes, kind: int) -> bytes:
        """The complete content of an object."""

    def write(self, object_id: bytes, kind: int, sink: Callable[[bytes], object]) -> int:
        """Give an object's content in parts; its size."""

    def size(self, object_id: bytes) -> int:
        """At least how many bytes it has."""

    def held(self, object_id: bytes) -> bytes | None:
        """The content of a file of at most 64 KiB, or that is made of deltas; None for all others."""


class Packs:
    """Several packs as one; an object that more than one has is read from the first."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        """At least one, all of one object format."""
        self._packs = tuple(packs)
        self.id_bytes = packs[0].id_bytes

    def __contains__(self, object_id: bytes) -> bool:
        """Whether an object of that id is in one of them."""
        return any(object_id in pack for pack in self._packs)

    def kind(self, object_id: bytes) -> int | None:
        """The kind of an object, None if there is none."""
        return self._of(object_id).kind(object_id)

    def read(self, object_id: bytes, kind: int) -> bytes:
        """As `Pack.read`."""
        return self._of(object_id).read(object_id, kind)

    def write(self, object_id: bytes, kind: int, sink: Callable[[bytes], object]) -> int:
        """As `Pack.write`."""
        return self._of(object_id).write(object_id, kind, sink)

    def size(self, object_id: bytes) -> int:
        """As `Pack.size`."""
        return self._of(object_id).size(object_id)

    def held(self, object_id: bytes) -> bytes | None:
        """As `Pack.held`."""
        return self._of(object_id).held(object_id)

    def _of(self, object_id: bytes) -> Pack:
        """The first pack that has the object, else the first."""
        return next((pack for pack in self._packs if object_id in pack), self._packs[0])
