"""Git's index of the paths that were written, so that `git status` need not read them again (gitformat-index, 2)."""

from __future__ import annotations

import hashlib
import os
import struct
from array import array

_NAME_MOST = 0xFFF
_STAT = struct.Struct(">10I")
_WORD = 0xFFFFFFFF
_SECOND = 10**9
_HEADER = 12


class Index:
    """Collects entries; a path follows those before it as in a tree, or else all are put into order at the end."""

    def __init__(self, *, sha256: bool) -> None:
        self._sha256 = sha256
        self._out = bytearray(_HEADER)
        self._starts = array("Q")
        self._last = b""
        self._sorted = True

    def add(self, path: bytes, mode: int, object_id: bytes, found: os.stat_result) -> None:
        """Note a path as it now lies on the disk."""
        created, changed = found.st_ctime_ns, found.st_mtime_ns
        start = len(self._out)
        self._starts.append(start)
        self._out += _STAT.pack(
            *(created // _SECOND & _WORD, created % _SECOND, changed // _SECOND & _WORD, changed % _SECOND),
            *(found.st_dev & _WORD, found.st_ino & _WORD, mode, found.st_uid, found.st_gid, found.st_size & _WORD),
        )
        self._out += object_id + min(len(path), _NAME_MOST).to_bytes(2) + path
        self._out += bytes(8 - (len(self._out) - start) % 8)
        if self._last >= path:
            self._sorted = False
        self._last = path

    def content(self) -> bytearray:
        """The file; nothing can be added to it any more."""
        if not self._sorted:
            self._sort()
        out = self._out
        out[:_HEADER] = b"DIRC" + (2).to_bytes(4) + len(self._starts).to_bytes(4)
        state = hashlib.sha256(out) if self._sha256 else hashlib.sha1(out, usedforsecurity=False)
        out += state.digest()
        return out

    def _sort(self) -> None:
        """Into git's order: of a tree that was not."""
        path_at = _STAT.size + (32 if self._sha256 else 20) + 2
        ends = [*self._starts[1:], len(self._out)]
        entries = [bytes(self._out[start:end]) for start, end in zip(self._starts, ends, strict=True)]
        entries.sort(key=lambda entry: entry[path_at:].rstrip(b"\0"))
        self._out = bytearray(_HEADER) + b"".join(entries)
