"""The objects of a pack on disk, in bounded memory: contents of files are inflated in parts (gitformat-pack).

Every object's id is computed from its content before anything is written, so that what a tree names is what lies on
the disk. Objects from deltas are held completely while they are built, one and its base at a time and
each within a limit; others never are. Small objects, which are most, take one call into zlib each.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from git_events_runner.edges.git.packs import apply_delta
from git_events_runner.errors import GitCutOff, GitProtocolError, GitTooLarge

from .deltas import DeltaFront, base_distance
from .packfile import PART_BYTES, SLACK_BYTES, SMALL_BYTES, PackFile

COMMIT, TREE, BLOB, TAG, _OFS_DELTA, _REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_HEADER = 12
_CACHE_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLimits:
    """Bounds of one clone: of all objects together, of one that is made of deltas, and of their number."""

    inflated_bytes: int = 64 * 2**30
    held_bytes: int = 512 * 2**20
    objects: int = 4_000_000


class _Held:
    """What `apply_delta` calls before it makes an object."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes

    def hold(self, size: int) -> None:
        if size > self._limit_bytes:
            raise GitTooLarge(f"the pack holds a delta of an object over {self._limit_bytes} bytes")


class Pack:
    """A complete pack, indexed. Entries are counted from 0 in the order of the pack."""

    def __init__(self, descriptor: int, object_format: str, limits: PackLimits) -> None:
        """Read a pack through; takes time and is to be called in a thread.

        Raises:
            GitProtocolError: It is broken or cut off.
            GitTooLarge: A limit was passed.
        """
        self._file = PackFile(descriptor)
        self._hash: Callable[..., Any] = hashlib.sha256 if object_format == "sha256" else hashlib.sha1
        self.id_bytes = self._hash().digest_size
        self._limits = limits
        self._held = _Held(limits.held_bytes)
        self._places, self._sizes = array("Q"), array("Q")
        self._heads = array("B")  # bytes before the compressed data
        self._bases, self._kinds = array("q"), bytearray()
        self._work = 0
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
        """The complete content of an object.

        Raises:
            GitProtocolError: There is none of that id and kind.
            GitTooLarge: It is larger than may be held.
        """
        return self._content(self._number(object_id, kind))

    def write(self, object_id: bytes, kind: int, sink: Callable[[bytes], object]) -> int:
        """Give an object's content in parts; its size. Raises as `read`."""
        number = self._number(object_id, kind)
        if self._bases[number] >= 0 or self._sizes[number] <= SMALL_BYTES:
            content = self._content(number)
            sink(content)
            return len(content)
        self._file.inflate(self._places[number] + self._heads[number], self._sizes[number], sink)
        return self._sizes[number]

    def size(self, object_id: bytes) -> int:
        """At least how many bytes it has; of one that is a delta, how many the delta has."""
        return self._sizes[self.objects[object_id]] if object_id in self.objects else 0

    def held(self, object_id: bytes) -> bytes | None:
        """The content of a file of at most 64 KiB, or that is made of deltas; None for all others."""
        number = self.objects.get(object_id, -1)
        if number < 0 or self._kinds[number] != BLOB:
            return None
        if self._bases[number] >= 0:
            return self._content(number)
        return self._small(number) if self._sizes[number] <= SMALL_BYTES else None

    def _small(self, number: int) -> bytes:
        size, place = self._sizes[number], self._places[number] + self._heads[number]
        packed = self._file.part(place, size + (size >> 8) + SLACK_BYTES)
        try:
            return zlib.decompress(packed, zlib.MAX_WBITS, size + 1)
        except zlib.error:  # much larger than it need be
            parts: list[bytes] = []
            self._file.inflate(place, size, parts.append)
            return b"".join(parts)

    def index(self) -> bytes:
        """The pack's index, version 2 (gitformat-pack, "Version 2 pack-*.idx")."""
        ordered = sorted(self.objects)
        counts = [0] * 256
        for object_id in ordered:
            counts[object_id[0]] += 1
        out, total = bytearray(b"\377tOc\0\0\0\2"), 0
        for count in counts:
            total += count
            out += total.to_bytes(4)
        for object_id in ordered:
            out += object_id
        sums = self._file.sums(self._places, self._file.size - self.id_bytes)
        for object_id in ordered:
            out += sums[self.objects[object_id]].to_bytes(4)
        far = bytearray()
        for object_id in ordered:
            place = self._places[self.objects[object_id]]
            if place >= 1 << 31:
                out += ((1 << 31) | len(far) // 8).to_bytes(4)
                far += place.to_bytes(8)
            else:
                out += place.to_bytes(4)
        out += far + self.checksum
        out += self._hash(out).digest()
        return bytes(out)

    # --- reading it through ------------------------------------------------------------------------

    def _scan(self) -> None:
        head = bytes(self._file.at(0, _HEADER))
        if len(head) < _HEADER or head[:4] != b"PACK" or int.from_bytes(head[4:8]) not in {2, 3}:
            raise GitProtocolError("what the server sent is not a pack")
        count, end, inflated = int.from_bytes(head[8:]), self._file.size - self.id_bytes, 0
        if count > self._limits.objects:
            raise GitTooLarge(f"the pack holds more than {self._limits.objects} objects")
        self._check(end)
        waiting: dict[int | bytes, list[int]] = {}
        place = _HEADER
        while True:
            place, small = self._scan_small(place, count)
            inflated += small
            self._check_inflated(inflated)
            number = len(self._places)
            if number == count:
                break
            base = self._read_entry(place)
            size = self._sizes[number]
            if base is None:
                object_id, after = self._identify(number)
                self.objects[object_id] = number
            else:
                waiting.setdefault(base, []).append(number)
                front = DeltaFront()
                after = self._file.inflate(place + self._heads[number], size, front.feed)
                inflated += front.target_size()
            inflated += size
            self._check_inflated(inflated)
            place = after
        if place != end:
            raise GitProtocolError("the pack does not end where it should")
        self._resolve(waiting)

    def _check_inflated(self, inflated: int) -> None:
        if inflated > self._limits.inflated_bytes:
            raise GitTooLarge(f"the pack inflates to more than {self._limits.inflated_bytes} bytes")

    def _scan_small(self, place: int, count: int) -> tuple[int, int]:
        """Note the small objects that follow from an offset on; where the first other entry begins, and their sizes.

        Most of a pack is such objects: this loop decides how long a clone takes, so it calls nothing that it need not.
        """
        places, sizes, heads, kinds, objects = self._places, self._sizes, self._heads, self._kinds, self.objects
        make_hash, inflated, number = self._hash, 0, len(self._places)
        window, at = self._file.front(place)
        last = self._file.last_complete
        while number < count:
            if at > last:
                window, at = self._file.front(place)
                last = self._file.last_complete
            try:
                byte, head = window[at], 1
                kind, size = (byte >> 4) & 7, byte & 15
                if byte & 0x80:
                    byte, head = window[at + 1], 2
                    size |= (byte & 0x7F) << 4
                    if byte & 0x80:
                        byte, head = window[at + 2], 3
                        size |= (byte & 0x7F) << 11
                if byte & 0x80 or kind not in NAMES or size > SMALL_BYTES:
                    break
                packed = window[at + head : at + head + size + (size >> 8) + SLACK_BYTES]
                stream = zlib.decompressobj()
                content = stream.decompress(packed, size + 1)
            except (IndexError, zlib.error):
                break
            if not stream.eof or len(content) != size:
                break
            objects[make_hash(b"%s %d\0%s" % (NAMES[kind], size, content), usedforsecurity=False).digest()] = number
            places.append(place)
            sizes.append(size)
            heads.append(head)
            kinds.append(kind)
            length = head + len(packed) - len(stream.unused_data)
            place += length
            at += length
            inflated += size
            number += 1
        self._bases.extend([-1] * (number - len(self._bases)))
        return place, inflated

    def _identify(self, number: int) -> tuple[bytes, int]:
        """Id of an object that is no delta, and where its entry ends."""
        place, size, head = self._places[number], self._sizes[number], self._heads[number]
        title = b"%s %d\0" % (NAMES[self._kinds[number]], size)
        if size <= SMALL_BYTES:
            window, first = self._file.front(place)
            packed = window[first + head : first + head + size + (size >> 8) + SLACK_BYTES]
            stream = zlib.decompressobj()
            try:
                content = stream.decompress(packed, size + 1)
            except zlib.error as error:
                raise GitProtocolError("the pack holds broken data") from error
            if stream.eof and len(content) == size:
                found: bytes = self._hash(title + content, usedforsecurity=False).digest()
                return found, place + head + len(packed) - len(stream.unused_data)
        state = self._hash(title, usedforsecurity=False)
        after = self._file.inflate(place + head, size, state.update)
        return state.digest(), after

    def _read_entry(self, place: int) -> int | bytes | None:
        """Note the entry at an offset; the number or id of what it is made of, None when it is no delta."""
        window, at = self._file.front(place)
        first = at
        base: int | bytes | None = None
        try:
            byte = window[at]
            kind, size, shift = (byte >> 4) & 7, byte & 15, 4
            while byte & 0x80:
                at += 1
                byte = window[at]
                size |= (byte & 0x7F) << shift
                shift += 7
                if shift > 63:  # noqa: PLR2004 - no object has 2**63 bytes
                    raise GitProtocolError("the pack holds an object of impossible size")
            at += 1
            if kind == _OFS_DELTA:
                distance, at = base_distance(window, at)
                base = self._at(place - distance)
            elif kind == _REF_DELTA:
                base = bytes(window[at : at + self.id_bytes])
                at += self.id_bytes
            elif kind not in NAMES:
                raise GitProtocolError(f"the pack holds an object of the unknown type {kind}")
        except IndexError:
            raise GitCutOff("the pack is cut off") from None
        self._places.append(place)
        self._heads.append(at - first)
        self._sizes.append(size)
        self._kinds.append(kind)
        self._bases.append(-1)
        return base

    def _at(self, place: int) -> int:
        """Number of the entry that begins at an offset."""
        number = bisect_left(self._places, place)
        if number == len(self._places) or self._places[number] != place:
            raise GitProtocolError("the pack holds a delta whose base is outside")
        return number

    def _check(self, end: int) -> None:
        """The last bytes are the checksum of all before."""
        state, place = self._hash(usedforsecurity=False), 0
        while place < end:
            part = self._file.at(place, min(PART_BYTES, end - place))
            state.update(part)
            place += len(part)
        self.checksum = state.digest()
        if bytes(self._file.at(max(end, 0), self.id_bytes)) != self.checksum:
            raise GitCutOff("the pack was cut off or damaged: its checksum is wrong")

    def _resolve(self, waiting: dict[int | bytes, list[int]]) -> None:
        """Make every object that is a delta, once, to know its id and kind; bases before what is made of them.

        One base and one result are held at a time: a base that was dropped meanwhile is made again, which counts as
        so much inflated.
        """
        numbers = [self.objects.get(key) if isinstance(key, bytes) else key for key in waiting]
        roots = {number for number in numbers if number is not None and self._kinds[number] in NAMES}
        names = {number: object_id for object_id, number in self.objects.items() if number in roots}
        for root in sorted(roots):
            stack = [(root, names.get(root, b""))]
            while stack:
                base, object_id = stack.pop()
                for child in waiting.pop(base, []) + waiting.pop(object_id, []):
                    content = self._apply(self._content(base), child)
                    kind = self._kinds[child] = self._kinds[base]
                    self._bases[child] = base
                    state = self._hash(b"%s %d\0" % (NAMES[kind], len(content)), usedforsecurity=False)
                    state.update(content)
                    child_id = state.digest()
                    self.objects.setdefault(child_id, child)
                    if child in waiting or child_id in waiting:
                        stack.append((child, child_id))
                        self._remember(child, content)
        if waiting:
            raise GitProtocolError("the pack holds a delta without its base")

    def _apply(self, base: bytes, number: int) -> bytes:
        return apply_delta(base, self._inflated(number), self._held)  # type: ignore[arg-type]  # calls `hold` only

    def _inflated(self, number: int) -> bytes:
        self._held.hold(self._sizes[number])
        parts: list[bytes] = []
        self._file.inflate(self._places[number] + self._heads[number], self._sizes[number], parts.append)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # --- contents ----------------------------------------------------------------------------------

    def _number(self, object_id: bytes, kind: int) -> int:
        number = self.objects.get(object_id)
        if number is None or self._kinds[number] != kind:
            raise GitProtocolError(f"the pack lacks the {NAMES[kind].decode()} {object_id.hex()}")
        return number

    def _content(self, number: int) -> bytes:
        """The content of an entry; bases are remembered for a while, for the next one may be made of them too."""
        if self._bases[number] < 0 and self._sizes[number] <= SMALL_BYTES and number not in self._cache:
            return self._small(number)
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
            self._work += len(content)
            if self._work > self._limits.inflated_bytes:
                raise GitTooLarge(f"the pack's deltas make more than {self._limits.inflated_bytes} bytes")
            if each != chain[0]:
                self._remember(each, content)
        return content

    def _remember(self, number: int, content: bytes) -> None:
        if number in self._cache:
            self._cache.move_to_end(number)
            return
        self._cache[number] = content
        self._cached += len(content)
        while self._cached > _CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= len(dropped)
