"""Git's index of the paths that were written, so that `git status` need not read them again (gitformat-index, 2)."""

from __future__ import annotations

import hashlib
import os
import struct

_NAME_MOST = 0xFFF
_STAT = struct.Struct(">10I")
_WORD = 0xFFFFFFFF
_SECOND = 10**9


class Index:
    """Collects entries; a path follows those before it as in a tree, or else all are put into order at the end."""

    def __init__(self, *, sha256: bool) -> None:
        self._sha256 = sha256
        self._entries: list[bytes] = []
        self._last = b""
        self._sorted = True

    def add(self, path: bytes, mode: int, object_id: bytes, found: os.stat_result) -> None:
        """Note a path as it now lies on the disk."""
        created, changed = divmod(found.st_ctime_ns, _SECOND), divmod(found.st_mtime_ns, _SECOND)
        places = (found.st_dev & _WORD, found.st_ino & _WORD, mode, found.st_uid, found.st_gid, found.st_size & _WORD)
        head = _STAT.pack(created[0] & _WORD, created[1], changed[0] & _WORD, changed[1], *places)
        entry = head + object_id + min(len(path), _NAME_MOST).to_bytes(2) + path
        self._entries.append(entry + b"\0" * (8 - len(entry) % 8))
        self._sorted = self._sorted and self._last < path
        self._last = path

    def content(self) -> bytes:
        """The file."""
        if not self._sorted:  # a tree that is not in git's order
            path_at = _STAT.size + (32 if self._sha256 else 20) + 2
            self._entries.sort(key=lambda entry: entry[path_at:].rstrip(b"\0"))
        out = b"DIRC" + (2).to_bytes(4) + len(self._entries).to_bytes(4) + b"".join(self._entries)
        state = hashlib.sha256(out) if self._sha256 else hashlib.sha1(out, usedforsecurity=False)
        return out + state.digest()
