"""The first bytes of a pack: what its first object is."""

from __future__ import annotations

from typing import ClassVar

_FRONT_BYTES = 13  # signature, version, count, and the first byte of the first object


class PackFront:
    """Takes a pack until the kind of its first object is known: the requested object, if it is not a delta.

    Git, JGit and libgit2 put commits before trees and those before files.
    """

    class Seen(Exception):
        """The kind is known."""

    _KINDS: ClassVar = {1: "commit", 2: "tree", 3: "blob"}

    def __init__(self) -> None:
        self._front = b""
        self.kind = "unknown"

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the pack.

        Raises:
            PackFront.Seen: They were enough.
        """
        self._front += data[:_FRONT_BYTES]
        if len(self._front) >= _FRONT_BYTES:
            if self._front.startswith(b"PACK"):
                self.kind = self._KINDS.get(self._front[_FRONT_BYTES - 1] >> 4 & 7, "unknown")
            raise PackFront.Seen
