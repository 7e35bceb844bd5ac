"""A pack's file, read through one window: parts of it, and what is compressed in it."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable
from functools import partial

from git_events_runner.errors import GitCutOff, GitProtocolError

SMALL_BYTES = 1 << 16
"""An object up to this size is inflated by one call."""

SLACK_BYTES = 64
"""What a compressed object may have in addition to its size, and a 256th of that; a larger one is read in parts."""

PART_BYTES = 1 << 18
_WINDOW = 1 << 18


class PackFile:
    """Reads a file through one window."""

    def __init__(self, descriptor: int) -> None:
        self.pread = partial(os.pread, descriptor)
        self._window = memoryview(b"")
        self._start = 0
        self.size = os.fstat(descriptor).st_size

    def at(self, place: int, count: int) -> memoryview:
        """Up to `count` bytes from an offset; fewer only at the end."""
        first = place - self._start
        if first < 0 or first + count > len(self._window):
            self._window = memoryview(self.pread(max(count, _WINDOW), place))
            self._start, first = place, 0
        return self._window[first : first + count]

    def front(self, place: int) -> tuple[memoryview, int]:
        """The window, and where in it an offset is; a small entry there is complete, unless the file ends."""
        first = place - self._start
        if first < 0 or (first + 2 * SMALL_BYTES > len(self._window) and self._start + len(self._window) < self.size):
            self._window = memoryview(self.pread(_WINDOW, place))
            self._start, first = place, 0
        return self._window, first

    @property
    def last_complete(self) -> int:
        """The last offset in the window from which a small entry is complete."""
        at_end = self._start + len(self._window) >= self.size
        return len(self._window) - (0 if at_end else 2 * SMALL_BYTES)

    def part(self, place: int, count: int) -> memoryview:
        """As `at`, for offsets in any order: only what follows the window moves it."""
        first, held = place - self._start, len(self._window)
        if 0 <= first <= held - count:
            return self._window[first : first + count]
        if 0 <= first - held + count < _WINDOW:
            return self.at(place, count)
        return memoryview(self.pread(count, place))

    def inflate(self, place: int, size: int, sink: Callable[[bytes], object]) -> int:
        """Give the content of exactly `size` bytes that is compressed at an offset, in parts; where it ends."""
        stream = zlib.decompressobj()
        total, pending = 0, memoryview(b"")
        while not stream.eof:
            if not pending:
                pending = self.at(place, min(size - total + (size >> 8) + SLACK_BYTES, PART_BYTES))
                place += len(pending)
                if not pending:
                    raise GitCutOff("the pack is cut off")
            try:
                part = stream.decompress(pending, min(size - total + 1, PART_BYTES))
            except zlib.error as error:
                raise GitProtocolError("the pack holds broken data") from error
            pending = memoryview(stream.unconsumed_tail)
            total += len(part)
            if total > size:
                break
            sink(part)
        if total != size:
            raise GitProtocolError("the pack has an object whose size differs from its header")
        return place - len(stream.unused_data)

    def sums(self, places: array[int], end: int) -> array[int]:
        """CRC-32 of each entry; they begin at the offsets, one after another, and the last one ends at `end`."""
        found = array("L")
        for number, start in enumerate(places):
            stop = places[number + 1] if number + 1 < len(places) else end
            value, at = 0, start
            while at < stop:
                part = self.at(at, min(PART_BYTES, stop - at))
                value = zlib.crc32(part, value)
                at += len(part)
            found.append(value)
        return found
