"""Parsing of a pack's deltas and trees, byte by byte."""

from __future__ import annotations

import re
from collections.abc import Iterator

from git_events_runner.errors import GitProtocolError

_DELTA_HEAD = 32
# A mode, a name, and an id of 20 bytes (sha1) or 32 (sha256).
_ENTRIES = {size: re.compile(rb"([0-7]{1,7}) ([^\0]*)\0(.{%d})" % size, re.DOTALL) for size in (20, 32)}


class DeltaFront:
    """The first bytes of a delta, with the sizes of its base and of its target."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, part: bytes) -> None:
        """Take the next bytes of the delta."""
        if len(self._bytes) < _DELTA_HEAD:
            self._bytes.extend(part[:_DELTA_HEAD])

    def target_size(self) -> int:
        """How large the object is that the delta describes."""
        size = at = 0
        for _ in range(2):
            size = shift = 0
            while at < len(self._bytes):
                byte = self._bytes[at]
                at += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
        return size


def base_distance(window: memoryview, at: int) -> tuple[int, int]:
    """How far back the base of an offset delta is, and where the data begin."""
    byte = window[at]
    value = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = window[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
        if value >= 1 << 62:
            raise GitProtocolError("the pack holds a delta whose base is outside")
    return value, at + 1


def tree_entries(tree: bytes, id_bytes: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Mode (octal digits), name and id of each entry of a tree.

    Raises:
        GitProtocolError: It is no tree.
    """
    at = 0
    for found in _ENTRIES[id_bytes].finditer(tree):
        if found.start() != at:
            break
        at = found.end()
        yield found[1], found[2], found[3]
    if at != len(tree):
        raise GitProtocolError("the pack holds a broken tree")
