"""Git's index of the paths that were written, so that `git status` need not read them again (gitformat-index, 2, 3)."""

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
_EXTENDED, _SKIP_WORKTREE = 0x4000, 0x4000
_MODE = 6


def _packed(found: os.stat_result, mode: int) -> bytes:
    created, changed = found.st_ctime_ns, found.st_mtime_ns
    return _STAT.pack(
        *(created // _SECOND & _WORD, created % _SECOND, changed // _SECOND & _WORD, changed % _SECOND),
        *(found.st_dev & _WORD, found.st_ino & _WORD, mode, found.st_uid, found.st_gid, found.st_size & _WORD),
    )


class Index:
    """Collects entries; a path follows those before it as in a tree, or else all are put into order at the end."""

    def __init__(self, *, sha256: bool) -> None:
        self._sha256 = sha256
        self._out = bytearray(_HEADER)
        self._starts = array("Q")
        self._last = b""
        self._sorted = True
        self._version = 2

    def add(self, path: bytes, mode: int, object_id: bytes, found: os.stat_result) -> int:
        """Note a path as it now is on the disk; where its entry is."""
        start = len(self._out)
        self._starts.append(start)
        self._out += _packed(found, mode)
        self._out += object_id + min(len(path), _NAME_MOST).to_bytes(2) + path
        self._end(start, path)
        return start

    def put_stat(self, entry: int, found: os.stat_result) -> None:
        """Note that the file of an entry was replaced on the disk."""
        mode = _STAT.unpack_from(self._out, entry)[_MODE]
        self._out[entry : entry + _STAT.size] = _packed(found, mode)

    def add_left_out(self, path: bytes, mode: int, object_id: bytes) -> None:
        """Note a path that is not on the disk, because of a sparse checkout."""
        self._version = 3
        start = len(self._out)
        self._starts.append(start)
        self._out += _STAT.pack(*(0, 0, 0, 0), *(0, 0, mode, 0, 0, 0))
        self._out += (
            object_id + (_EXTENDED | min(len(path), _NAME_MOST)).to_bytes(2) + _SKIP_WORKTREE.to_bytes(2) + path
        )
        self._end(start, path)

    def _end(self, start: int, path: bytes) -> None:
        self._out += bytes(8 - (len(self._out) - start) % 8)
        if self._last >= path:
            self._sorted = False
        self._last = path

    def content(self) -> bytearray:
        """The file; nothing can be added to it any more."""
        if not self._sorted:
            self._sort()
        out = self._out
        out[:_HEADER] = b"DIRC" + self._version.to_bytes(4) + len(self._starts).to_bytes(4)
        state = hashlib.sha256(out) if self._sha256 else hashlib.sha1(out, usedforsecurity=False)
        out += state.digest()
        return out

    def _sort(self) -> None:
        """Into git's order: of a tree that was not."""
        flags_at = _STAT.size + (32 if self._sha256 else 20)
        ends = [*self._starts[1:], len(self._out)]
        entries = [bytes(self._out[start:end]) for start, end in zip(self._starts, ends, strict=True)]
        entries.sort(key=lambda entry: entry[flags_at + (4 if entry[flags_at] & _EXTENDED >> 8 else 2) :].rstrip(b"\0"))
        self._out = bytearray(_HEADER) + b"".join(entries)
