"""Which paths differ between two trees, as `git diff --name-status --no-renames` shows them.

Two trees are read in parallel in git's order; folders that are the same in both are not read. Sources: git's
tree-diff.c (order, types), quote.c (quoting of paths) and tree-walk.h (`canon_mode`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from git_events_runner.errors import GitTooLarge

from .deltas import tree_entries
from .pack import TREE

_TYPE, _FILE, _LINK, _FOLDER, _SUBMODULE = 0o170000, 0o100000, 0o120000, 0o040000, 0o160000
_EXECUTABLE = 0o100
_DEPTH = 256
_PATH_BYTES = 4096
_UNQUOTED = re.compile(rb'[^\x00-\x1f"\\\x7f-\xff]*\Z')
_ESCAPES = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F

_Entry = tuple[bytes, bytes, int, bytes]


class Trees(Protocol):
    """Reads trees by their ids."""

    @property
    def id_bytes(self) -> int:
        """How long an id is."""

    def read(self, object_id: bytes, kind: int) -> bytes:
        """The content of an object."""


def quoted(path: bytes) -> bytes:
    r"""A path as git shows it in a line of its own: in quotes, with escapes, where it has to be.

    >>> quoted(b"a b"), quoted(b"a\tb"), quoted(b"\xc3\xa9")
    (b'a b', b'"a\\tb"', b'"\\303\\251"')
    """
    if _UNQUOTED.match(path):
        return path
    out = bytearray(b'"')
    for byte in path:
        if byte in _ESCAPES:
            out += _ESCAPES[byte]
        elif byte < _FIRST_PRINTABLE or byte >= _DELETE:
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    return bytes(out + b'"')


def differences(
    old: Trees, old_tree: bytes, new: Trees, new_tree: bytes, *, most: int
) -> Iterator[tuple[bytes, bytes]]:
    """Status (`A`, `M`, `D`, `T`) and path of everything that differs, in git's order.

    Raises:
        GitTooLarge: More than `most` entries have to be read, folders are nested too deeply, or a path is too long.
        GitProtocolError: A tree is broken or missing.
    """
    walk = _Walk(old, new, most)
    yield from walk.both(old_tree, new_tree, b"", 0)


class _Walk:
    def __init__(self, old: Trees, new: Trees, most: int) -> None:
        self._old = old
        self._new = new
        self._most = self._left = most
        self._modes: dict[bytes, int] = {}

    def both(self, old_tree: bytes, new_tree: bytes, prefix: bytes, depth: int) -> Iterator[tuple[bytes, bytes]]:
        """What differs between two folders of one path."""
        if old_tree == new_tree:
            return
        olds, news = (
            self._entries(self._old, old_tree, prefix, depth),
            self._entries(self._new, new_tree, prefix, depth),
        )
        old, new = next(olds, None), next(news, None)
        while old is not None or new is not None:
            if old is None or (new is not None and new[0] < old[0]):
                if new is not None:
                    yield from self._one(b"A", self._new, new, prefix, depth)
                new = next(news, None)
            elif new is None or old[0] < new[0]:
                yield from self._one(b"D", self._old, old, prefix, depth)
                old = next(olds, None)
            else:
                if old[3] != new[3] or old[2] != new[2]:
                    if new[2] == _FOLDER:
                        yield from self.both(old[3], new[3], prefix + new[1] + b"/", depth + 1)
                    else:
                        yield b"M" if old[2] & _TYPE == new[2] & _TYPE else b"T", prefix + new[1]
                old, new = next(olds, None), next(news, None)

    def _one(
        self, status: bytes, trees: Trees, entry: _Entry, prefix: bytes, depth: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """Everything in a path that only one of both has."""
        if entry[2] != _FOLDER:
            yield status, prefix + entry[1]
            return
        below = prefix + entry[1] + b"/"
        for inner in self._entries(trees, entry[3], below, depth + 1):
            yield from self._one(status, trees, inner, below, depth + 1)

    def _entries(self, trees: Trees, tree: bytes, prefix: bytes, depth: int) -> Iterator[_Entry]:
        """What entries are sorted by, and their names, types and ids; folders sort as if their names ended with `/`."""
        if depth > _DEPTH:
            raise GitTooLarge(f"folders are nested more than {_DEPTH} deep")
        if len(prefix) > _PATH_BYTES:
            raise GitTooLarge(f"a path has over {_PATH_BYTES} bytes")
        for octal, name, object_id in tree_entries(trees.read(tree, TREE), trees.id_bytes):
            if not self._left:
                raise GitTooLarge(f"more than {self._most} files and folders have to be compared")
            self._left -= 1
            mode = self._modes.get(octal)
            if mode is None:
                mode = self._modes[octal] = _canonical(int(octal, 8))
            yield name + b"/" if mode == _FOLDER else name, name, mode, object_id


def _canonical(mode: int) -> int:
    """Type, and whether a file may be executed: nothing else of a mode counts."""
    kind = mode & _TYPE
    if kind == _FILE:
        return _FILE | (0o755 if mode & _EXECUTABLE else 0o644)
    return kind if kind in {_LINK, _FOLDER} else _SUBMODULE
