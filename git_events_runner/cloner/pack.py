"""The objects of a pack on disk, in bounded memory: contents of files are inflated in parts (gitformat-pack).

Every object's id is computed from its content before anything is written, so that what a tree names is what lies on
the disk. Objects that are made of deltas are held whole while they are made, within a limit; others never are.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from git_events_runner.edges.git.packs import apply_delta
from git_events_runner.errors import GitProtocolError, GitTooLarge

COMMIT, TREE, BLOB, TAG, _OFS_DELTA, _REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_HEADER = 12
_WINDOW = 1 << 18
_PART = 1 << 18
_HEAD_BYTES = 64
_CACHE_BYTES = 32 * 2**20
_DELTA_HEAD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLimits:
    """Bounds of one clone: of all objects together, of one that is made of deltas, and of their number."""

    inflated_bytes: int = 64 * 2**30
    held_bytes: int = 512 * 2**20
    objects: int = 4_000_000


class _Held:
    """What `apply_delta` asks before it makes an object."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes

    def hold(self, size: int) -> None:
        if size > self._limit_bytes:
            raise GitTooLarge(f"the pack holds a delta of an object over {self._limit_bytes} bytes")


class _File:
    """Reads a file through one window."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._window = memoryview(b"")
        self._start = 0
        self.size = os.fstat(descriptor).st_size

    def at(self, place: int, count: int) -> memoryview:
        """Up to `count` bytes from a place; fewer only at the end."""
        first = place - self._start
        if first < 0 or first + count > len(self._window):
            self._window = memoryview(os.pread(self._descriptor, max(count, _WINDOW), place))
            self._start, first = place, 0
        return self._window[first : first + count]

    def inflate(self, place: int, size: int, sink: Callable[[bytes], object]) -> int:
        """Give the content of exactly `size` bytes that is compressed at a place, in parts; where it ends."""
        stream = zlib.decompressobj()
        total, pending = 0, memoryview(b"")
        while not stream.eof:
            if not pending:
                pending = self.at(place, min(size - total + (size >> 8) + _HEAD_BYTES, _PART))
                place += len(pending)
                if not pending:
                    raise GitProtocolError("the pack is cut off")
            try:
                part = stream.decompress(pending, min(size - total + 1, _PART))
            except zlib.error as error:
                raise GitProtocolError("the pack holds broken data") from error
            pending = memoryview(stream.unconsumed_tail)
            total += len(part)
            if total > size:
                break
            sink(part)
        if total != size:
            raise GitProtocolError("the pack holds an object that is not as large as it says")
        return place - len(stream.unused_data)


class Pack:
    """A whole pack, indexed. Entries are counted from 0 in the order of the pack."""

    def __init__(self, descriptor: int, object_format: str, limits: PackLimits) -> None:
        """Read a pack through; takes time and is to be called in a thread.

        Raises:
            GitProtocolError: It is broken or cut off.
            GitTooLarge: A limit was passed.
        """
        self._file = _File(descriptor)
        self._hash: Callable[..., Any] = hashlib.sha256 if object_format == "sha256" else hashlib.sha1
        self.id_bytes = self._hash().digest_size
        self._limits = limits
        self._held = _Held(limits.held_bytes)
        self._places, self._data, self._sizes = array("Q"), array("Q"), array("Q")
        self._bases, self._kinds, self._sums = array("q"), bytearray(), array("L")
        self.objects: dict[bytes, int] = {}
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._scan()

    def __contains__(self, object_id: bytes) -> bool:
        """Whether an object of that id is there."""
        return object_id in self.objects

    def kind(self, object_id: bytes) -> int | None:
        """The kind of an object, None if there is none."""
        number = self.objects.get(object_id)
        return None if number is None else self._kinds[number]

    def read(self, object_id: bytes, kind: int) -> bytes:
        """The whole content of an object.

        Raises:
            GitProtocolError: There is none of that id and kind.
            GitTooLarge: It is larger than may be held.
        """
        return self._content(self._number(object_id, kind))

    def write(self, object_id: bytes, kind: int, sink: Callable[[bytes], object]) -> int:
        """Give an object's content in parts; its size. Raises as `read`."""
        number = self._number(object_id, kind)
        if self._bases[number] >= 0:
            content = self._content(number)
            sink(content)
            return len(content)
        self._file.inflate(self._data[number], self._sizes[number], sink)
        return self._sizes[number]

    def index(self) -> bytes:
        """The pack's index, version 2 (gitformat-pack, "Version 2 pack-*.idx")."""
        ordered = sorted(self.objects.items())
        counts = [0] * 256
        for object_id, _ in ordered:
            counts[object_id[0]] += 1
        out, total = bytearray(b"\377tOc\0\0\0\2"), 0
        for count in counts:
            total += count
            out += total.to_bytes(4)
        out += b"".join(object_id for object_id, _ in ordered)
        out += b"".join(self._sums[number].to_bytes(4) for _, number in ordered)
        far = bytearray()
        for _, number in ordered:
            place = self._places[number]
            if place >= 1 << 31:
                out += ((1 << 31) | len(far) // 8).to_bytes(4)
                far += place.to_bytes(8)
            else:
                out += place.to_bytes(4)
        out += far + self.checksum
        checksum: bytes = self._hash(out).digest()
        return bytes(out) + checksum

    # --- reading it through ------------------------------------------------------------------------

    def _scan(self) -> None:
        head = bytes(self._file.at(0, _HEADER))
        if len(head) < _HEADER or head[:4] != b"PACK" or int.from_bytes(head[4:8]) not in {2, 3}:
            raise GitProtocolError("what the server sent is not a pack")
        count, end, inflated = int.from_bytes(head[8:]), self._file.size - self.id_bytes, 0
        if count > self._limits.objects:
            raise GitTooLarge(f"the pack holds more than {self._limits.objects} objects")
        self._check(end)
        by_place: dict[int, int] = {}
        waiting: dict[int | bytes, list[int]] = {}
        place = _HEADER
        for number in range(count):
            by_place[place] = number
            base = self._read_entry(place, by_place)
            size = self._sizes[number]
            if base is None:
                kind = self._kinds[number]
                state = self._hash(b"%s %d\0" % (NAMES[kind], size), usedforsecurity=False)
                after = self._file.inflate(self._data[number], size, state.update)
                self.objects[state.digest()] = number
            else:
                waiting.setdefault(base, []).append(number)
                front = _Front()
                after = self._file.inflate(self._data[number], size, front.take)
                inflated += front.target_size()
            inflated += size
            if inflated > self._limits.inflated_bytes:
                raise GitTooLarge(f"the pack inflates to more than {self._limits.inflated_bytes} bytes")
            self._sums.append(self._sum(place, after))
            place = after
        if place != end:
            raise GitProtocolError("the pack does not end where it should")
        self._resolve(waiting)

    def _read_entry(self, place: int, by_place: dict[int, int]) -> int | bytes | None:
        """Note the entry at a place; the number or id of what it rests on, None when it is no delta."""
        kind, size, data = self._entry(place)
        base: int | bytes | None = None
        if kind == _OFS_DELTA:
            distance, data = self._distance(data)
            base = by_place.get(place - distance) if distance else None
            if base is None:
                raise GitProtocolError("the pack holds a delta whose base is outside")
        elif kind == _REF_DELTA:
            base = bytes(self._file.at(data, self.id_bytes))
            data += self.id_bytes
        elif kind not in NAMES:
            raise GitProtocolError(f"the pack holds an object of the unknown type {kind}")
        self._places.append(place)
        self._data.append(data)
        self._sizes.append(size)
        self._kinds.append(kind)
        self._bases.append(-1)
        return base

    def _check(self, end: int) -> None:
        """The last bytes are the checksum of all before."""
        state, place = self._hash(usedforsecurity=False), 0
        while place < end:
            part = self._file.at(place, min(_PART, end - place))
            state.update(part)
            place += len(part)
        self.checksum = state.digest()
        if bytes(self._file.at(max(end, 0), self.id_bytes)) != self.checksum:
            raise GitProtocolError("the pack was cut off or damaged: its checksum is wrong")

    def _sum(self, start: int, end: int) -> int:
        value = 0
        while start < end:
            part = self._file.at(start, min(_PART, end - start))
            value = zlib.crc32(part, value)
            start += len(part)
        return value

    def _entry(self, place: int) -> tuple[int, int, int]:
        """Kind and size of the entry at a place, and where its data begin."""
        head = bytes(self._file.at(place, _HEAD_BYTES))
        at = 0
        try:
            byte = head[at]
            kind, size, shift = (byte >> 4) & 7, byte & 15, 4
            while byte & 0x80:
                at += 1
                byte = head[at]
                size |= (byte & 0x7F) << shift
                shift += 7
        except IndexError:
            raise GitProtocolError("the pack is cut off") from None
        if size >= 1 << 62:
            raise GitProtocolError("the pack holds an object of impossible size")
        return kind, size, place + at + 1

    def _distance(self, place: int) -> tuple[int, int]:
        """How far back the base of an offset delta is, and where the data begin."""
        head = bytes(self._file.at(place, _HEAD_BYTES))
        try:
            byte, at = head[0], 0
            value = byte & 0x7F
            while byte & 0x80:
                at += 1
                byte = head[at]
                value = ((value + 1) << 7) | (byte & 0x7F)
        except IndexError:
            raise GitProtocolError("the pack is cut off") from None
        return value, place + at + 1

    def _resolve(self, waiting: dict[int | bytes, list[int]]) -> None:
        """Make every object that is a delta, once, to know its id and kind; bases before what rests on them."""
        roots = [(number, object_id) for object_id, number in self.objects.items()]
        for number, object_id in roots:
            below = waiting.pop(number, []) + waiting.pop(object_id, [])
            if below:
                content = self._content(number)
                stack, held = [(number, content, iter(below))], len(content)
                while stack:
                    base, content, children = stack[-1]
                    child = next(children, None)
                    if child is None:
                        stack.pop()
                        held -= len(content)
                        continue
                    made = self._apply(content, child)
                    kind = self._kinds[child] = self._kinds[base]
                    self._bases[child] = base
                    state = self._hash(b"%s %d\0" % (NAMES[kind], len(made)), usedforsecurity=False)
                    state.update(made)
                    child_id = state.digest()
                    self.objects.setdefault(child_id, child)
                    further = waiting.pop(child, []) + waiting.pop(child_id, [])
                    if further:
                        held += len(made)
                        self._held.hold(held)
                        stack.append((child, made, iter(further)))
        if waiting:
            raise GitProtocolError("the pack holds a delta without its base")

    def _apply(self, base: bytes, number: int) -> bytes:
        return apply_delta(base, self._inflated(number), self._held)  # type: ignore[arg-type]  # asks `hold` only

    def _inflated(self, number: int) -> bytes:
        self._held.hold(self._sizes[number])
        parts: list[bytes] = []
        self._file.inflate(self._data[number], self._sizes[number], parts.append)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # --- contents ----------------------------------------------------------------------------------

    def _number(self, object_id: bytes, kind: int) -> int:
        number = self.objects.get(object_id)
        if number is None or self._kinds[number] != kind:
            raise GitProtocolError(f"the pack lacks the {NAMES[kind].decode()} {object_id.hex()}")
        return number

    def _content(self, number: int) -> bytes:
        """The content of an entry; bases are remembered for a while, for the next one may rest on them too."""
        chain: list[int] = []
        while number not in self._cache and self._bases[number] >= 0:
            chain.append(number)
            number = self._bases[number]
        content = self._cache.get(number)
        if content is None:
            content = self._inflated(number)
        if chain:
            self._remember(number, content)
        for each in reversed(chain):
            content = self._apply(content, each)
            if each != chain[0]:
                self._remember(each, content)
        return content

    def _remember(self, number: int, content: bytes) -> None:
        if number in self._cache:
            self._cache.move_to_end(number)
            return
        self._cache[number] = content
        self._cached += len(content)
        while self._cached > _CACHE_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= len(dropped)


class _Front:
    """The first bytes of a delta, in which the sizes of its base and of what it makes stand."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def take(self, part: bytes) -> None:
        if len(self._bytes) < _DELTA_HEAD:
            self._bytes.extend(part[:_DELTA_HEAD])

    def target_size(self) -> int:
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


def tree_entries(tree: bytes, id_bytes: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Mode, name and id of each entry of a tree.

    Raises:
        GitProtocolError: It is no tree.
    """
    at = 0
    while at < len(tree):
        space = tree.find(b" ", at, at + 8)
        end = tree.find(b"\0", space)
        after = end + 1 + id_bytes
        if space < 0 or end < 0 or after > len(tree) or not tree[at:space].isdigit():
            raise GitProtocolError("the pack holds a broken tree")
        try:
            mode = int(tree[at:space], 8)
        except ValueError as error:
            raise GitProtocolError("the pack holds a broken tree") from error
        yield mode, tree[space + 1 : end], tree[end + 1 : after]
        at = after
