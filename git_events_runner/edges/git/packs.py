"""Trees out of a pack in memory, within bounds: contents of files are inflated in parts and dropped (gitformat-pack).

Not dulwich's reader: it inflates every object fully, so that a hostile pack of 1 MiB takes 1 GiB of memory, and a
controller that never checks out need not hold its modules.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from git_events_runner.errors import GitProtocolError, GitReferenceNotFound, GitTooLarge

from .limits import Limits
from .pack_cursor import PackCursor
from .request import TreeEntry

_COMMIT, _TREE, _BLOB, _TAG, _OFS_DELTA, _REF_DELTA = 1, 2, 3, 4, 6, 7
_NAMES = {_COMMIT: b"commit", _TREE: b"tree", _BLOB: b"blob", _TAG: b"tag"}
_HELD = frozenset({_COMMIT, _TREE, _TAG, _OFS_DELTA, _REF_DELTA})
_HEADER = 12
_DEFAULT_COPY = 0x10000
_START_BYTES = 4
_MODE_MASK, _MODE_TREE = 0o170000, 0o040000
_PATH_BYTES = 4096
_SMALL_TREE_BYTES = 4096
_BYTES_PER_FILE = 128  # of its path, on average
_STEP_BYTES, _STEPS = 8, 4096  # an instruction of a delta takes time; it is counted as so many bytes held
_OBJECT_BYTES = 200  # what an object takes in addition to its content
# A mode, a name that is one part of a path, and an id of 20 bytes (sha1) or 32 (sha256).
_ENTRIES = {size: re.compile(rb"([0-7]{1,7}) ([^\0/]+)\0(.{%d})" % size, re.DOTALL) for size in (20, 32)}


class TreesTooLarge(GitTooLarge):
    """The trees among a pack's objects take more memory than allowed."""


@dataclass(slots=True)
class _Entry:
    """An object of the pack; `data` is None for file contents, which are not held; `base` is set for deltas."""

    kind: int
    data: bytes | None
    base: int | bytes | None = None


# Any content of a file.
_SKIPPED = _Entry(_BLOB, None)


@dataclass(slots=True)
class _Budget:
    limits: Limits
    inflated: int = field(default=0)
    held: int = field(default=0)

    def inflate(self, size: int) -> None:
        self.inflated += size
        if self.inflated > self.limits.inflated_bytes:
            raise GitTooLarge(f"the pack inflates to more than {self.limits.inflated_bytes} bytes")

    def hold(self, size: int) -> None:
        self.held += size
        if self.held > self.limits.tree_bytes:
            raise TreesTooLarge(f"the trees of the commit take more than {self.limits.tree_bytes} bytes")


def _size(delta: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte = delta[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, at


def apply_delta(base: bytes, delta: bytes, budget: _Budget) -> bytes:
    """The object that a delta makes of its base.

    Raises:
        GitProtocolError: It does not fit the base.
        GitTooLarge: The result passes the budget.
    """
    try:
        source, at = _size(delta, 0)
        target, at = _size(delta, at)
        budget.hold(target)
        out = bytearray()
        steps = 0
        while at < len(delta):
            steps += 1
            if not steps % _STEPS:
                budget.hold(_STEP_BYTES * _STEPS)
            code = delta[at]
            at += 1
            if code & 0x80:
                start = length = 0
                for bit in range(7):
                    if code & (1 << bit):
                        start, length = _argument(start, length, bit, delta[at])
                        at += 1
                length = length or _DEFAULT_COPY
                if start + length > len(base) or len(out) + length > target:
                    raise GitProtocolError("the pack holds a delta that does not fit its base")
                out += base[start : start + length]
            else:
                if not code or at + code > len(delta):
                    raise GitProtocolError("the pack holds a broken delta")
                out += delta[at : at + code]
                at += code
        budget.hold(_STEP_BYTES * (steps % _STEPS))
    except IndexError as error:
        raise GitProtocolError("the pack holds a delta that is cut off") from error
    if source != len(base) or target != len(out):
        raise GitProtocolError("the pack holds a delta that does not fit its base")
    return bytes(out)


def _argument(start: int, length: int, bit: int, value: int) -> tuple[int, int]:
    """Bits 0 to 3 of a copy are bytes of the start, 4 to 6 of the length."""
    if bit < _START_BYTES:
        return start | value << (8 * bit), length
    return start, length | value << (8 * (bit - _START_BYTES))


class _Pack:
    """The commits and trees of a pack by id."""

    def __init__(self, pack: bytes | bytearray, object_format: str, limits: Limits) -> None:
        self._hash = hashlib.sha256 if object_format == "sha256" else hashlib.sha1
        self._budget = _Budget(limits)
        self._entries: dict[int, _Entry] = {}
        self._skipped = array("Q")  # where contents of files begin, ascending: deltas may be made of them
        self.objects: dict[bytes, _Entry] = {}
        self._waiting: dict[int | bytes, list[tuple[int, _Entry]]] = {}  # deltas, by what they are made of
        self._scan(memoryview(pack))

    def _scan(self, pack: memoryview) -> None:
        if bytes(pack[:4]) != b"PACK" or int.from_bytes(pack[4:8]) not in {2, 3} or len(pack) < _HEADER:
            raise GitProtocolError("what the server sent is not a pack")
        count = int.from_bytes(pack[8:12])
        if count > self._budget.limits.tree_entries:
            raise GitTooLarge(f"the pack holds more than {self._budget.limits.tree_entries} objects")
        cursor = PackCursor(pack)
        for _ in range(count):
            self._read_entry(cursor)
        if self._waiting:
            raise GitProtocolError("the pack holds a delta without its base")

    def _read_entry(self, cursor: PackCursor) -> None:
        """The next entry; its data is held if it is, or may turn out to be, a tree or a commit."""
        at = cursor.at
        kind, size = cursor.head()
        base: int | bytes | None = None
        if kind == _OFS_DELTA:
            base = at - cursor.offset()
        elif kind == _REF_DELTA:
            base = cursor.read(self._hash().digest_size)
        elif kind not in _NAMES:
            raise GitProtocolError(f"the pack holds an object of the unknown type {kind}")
        found = self._find(base)
        keep = (found.kind if found else kind) in _HELD
        self._budget.inflate(size)
        if keep:
            self._budget.hold(size + _OBJECT_BYTES)
        data = cursor.inflate(size, keep=keep)
        if data is None:
            self._skipped.append(at)
            return
        entry = self._entries[at] = _Entry(kind, data, base)
        if base is None:
            self._settle(at, entry)
        elif found is not None and found.kind in _NAMES:
            self._resolve(entry, found)
            self._settle(at, entry)
        else:
            self._waiting.setdefault(base, []).append((at, entry))

    def _settle(self, at: int, entry: _Entry) -> None:
        """An entry's kind and content are known now, and so are those of all entries that waited for it."""
        settled = [(at, entry)]
        while settled:
            at, entry = settled.pop()
            waiting = self._waiting.pop(at, [])
            if entry.data is not None:
                waiting += self._waiting.pop(self._know(entry, entry.data), [])
            for each in waiting:
                self._resolve(each[1], entry)
            settled += waiting

    def _find(self, base: int | bytes | None) -> _Entry | None:
        if base is None:
            return None
        if not isinstance(base, int):
            return self.objects.get(base)
        at = bisect_left(self._skipped, base)
        if at < len(self._skipped) and self._skipped[at] == base:
            return _SKIPPED
        return self._entries.get(base)

    def _resolve(self, entry: _Entry, base: _Entry) -> None:
        entry.kind = base.kind
        if base.data is None or entry.data is None:
            entry.data = None
        else:
            entry.data = apply_delta(base.data, entry.data, self._budget)

    def _know(self, entry: _Entry, data: bytes) -> bytes:
        head = b"%s %d\0" % (_NAMES[entry.kind], len(data))
        object_id = self._hash(head + data, usedforsecurity=False).digest()
        self.objects[object_id] = entry
        return object_id

    def of(self, object_id: bytes, kind: int) -> bytes:
        entry = self.objects.get(object_id)
        if entry is None or entry.kind != kind or entry.data is None:
            raise GitProtocolError(f"the pack lacks the {_NAMES[kind].decode()} {object_id.hex()}")
        return entry.data


def _entries_of(tree: bytes, id_bytes: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Mode (octal digits), name and id of each entry; one call into the regular expression's engine for a small tree.

    A large tree's entries are made one by one: together they would take ten times its memory.
    """
    if len(tree) > _SMALL_TREE_BYTES:
        return _one_by_one(tree, id_bytes)
    entries: list[tuple[bytes, bytes, bytes]] = _ENTRIES[id_bytes].findall(tree)
    # Two separators, and no byte that belongs to no entry.
    if sum(len(mode) + len(name) for mode, name, _ in entries) + len(entries) * (id_bytes + 2) != len(tree):
        raise GitProtocolError("the pack holds a broken tree")
    return iter(entries)


def _one_by_one(tree: bytes, id_bytes: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    at = 0
    for found in _ENTRIES[id_bytes].finditer(tree):
        if found.start() != at:
            break
        at = found.end()
        yield found[1], found[2], found[3]
    if at != len(tree):
        raise GitProtocolError("the pack holds a broken tree")


class Tree:
    """All files, links and submodules of a commit, in git's order; iterating makes each entry when it is needed.

    It holds the trees as git does, some 60 bytes a file; a list of entries takes five times as much.
    """

    __slots__ = ("__weakref__", "_count", "_root", "_trees")

    def __init__(self, root: bytes, trees: Mapping[bytes, bytes], count: int) -> None:
        """`trees` are the contents of all that are reachable from the root, by id; `count` is the number of entries."""
        self._root = root
        self._trees = trees
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TreeEntry]:
        size, modes = len(self._root), dict[bytes, int]()
        stack = [("", _entries_of(self._trees[self._root], size))]
        while stack:
            prefix, entries = stack[-1]
            for octal, name, object_id in entries:
                mode = modes.get(octal)
                if mode is None:
                    mode = modes[octal] = int(octal, 8)
                path = prefix + name.decode("utf-8", "surrogateescape")
                if mode & _MODE_MASK == _MODE_TREE:
                    stack.append((path + "/", _entries_of(self._trees[object_id], size)))
                    break
                yield TreeEntry(path, mode, object_id.hex())
            else:
                stack.pop()


def commit_content(pack: bytes | bytearray, commit: str, object_format: str, limits: Limits) -> bytes:
    """The content of a commit.

    Raises:
        GitReferenceNotFound: The id is not a commit's.
        GitProtocolError: The pack is broken or lacks it.
        GitTooLarge: A limit was passed.
    """
    return _commit_of(_Pack(pack, object_format, limits), commit)


def _commit_of(objects: _Pack, commit: str) -> bytes:
    commit_id = bytes.fromhex(commit)
    if (found := objects.objects.get(commit_id)) is not None and found.kind != _COMMIT:
        raise GitReferenceNotFound(f"{commit} is not a commit")
    return objects.of(commit_id, _COMMIT)


def read_tree(pack: bytes | bytearray, commit: str, object_format: str, limits: Limits) -> Tree:
    """All files, links and submodules of a commit, from a pack with its trees.

    Raises:
        GitReferenceNotFound: The id is not a commit's.
        GitProtocolError: The pack is broken or not complete.
        TreesTooLarge: The trees take more than `limits.tree_bytes`.
        GitTooLarge: Another limit was passed.
    """
    objects, commit_id = _Pack(pack, object_format, limits), bytes.fromhex(commit)
    data = _commit_of(objects, commit)
    if not data.startswith(b"tree ") or data[5 + 2 * len(commit_id) : 6 + 2 * len(commit_id)] != b"\n":
        raise GitProtocolError("the pack holds a broken commit")
    try:
        root = bytes.fromhex(data[5 : 5 + 2 * len(commit_id)].decode("ascii"))
    except ValueError as error:
        raise GitProtocolError("the pack holds a broken commit") from error
    return _walked(objects, root, limits)


def _walked(objects: _Pack, root: bytes, limits: Limits) -> Tree:
    """The tree, when everything that is in it has been seen once, within the limits."""
    trees = {root: objects.of(root, _TREE)}
    inspected = count = size = 0
    folders: dict[bytes, bool] = {}
    stack = [(0, _entries_of(trees[root], len(root)))]
    while stack:
        above, entries = stack[-1]
        for octal, name, object_id in entries:
            inspected += 1
            length = above + len(name)
            if inspected > limits.tree_entries or length > _PATH_BYTES:
                raise GitTooLarge(
                    f"the commit has more than {limits.tree_entries} files, or paths over {_PATH_BYTES} bytes"
                )
            folder = folders.get(octal)
            if folder is None:
                folder = folders[octal] = int(octal, 8) & _MODE_MASK == _MODE_TREE
            if folder:
                if object_id not in trees:
                    trees[object_id] = objects.of(object_id, _TREE)
                stack.append((length + 1, _entries_of(trees[object_id], len(root))))
                break
            count += 1
            size += length
            if size > _BYTES_PER_FILE * limits.tree_entries:
                raise GitTooLarge("the paths of the commit are too long, all together")
        else:
            stack.pop()
    return Tree(root, trees, count)
