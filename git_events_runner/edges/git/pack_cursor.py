"""A position in a pack: heads of entries, offsets, inflated contents."""

from __future__ import annotations

import zlib

from git_events_runner.errors import GitProtocolError

_HEADER = 12
_PART = 1 << 16
_SLACK = 128


class PackCursor:
    """Reads a pack from front to back."""

    def __init__(self, pack: memoryview) -> None:
        self._pack = pack
        self.at = _HEADER

    def byte(self) -> int:
        """The next byte."""
        try:
            value = self._pack[self.at]
        except IndexError:
            raise GitProtocolError("the pack is cut off") from None
        self.at += 1
        return value

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        part = bytes(self._pack[self.at : self.at + count])
        if len(part) != count:
            raise GitProtocolError("the pack is cut off")
        self.at += count
        return part

    def head(self) -> tuple[int, int]:
        """Type and size of the entry that starts here."""
        byte = self.byte()
        kind, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            byte = self.byte()
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:  # noqa: PLR2004 - no object has 2**63 bytes
                raise GitProtocolError("the pack holds an object of impossible size")
        return kind, size

    def offset(self) -> int:
        """Distance to the base of an offset delta."""
        byte = self.byte()
        value = byte & 0x7F
        while byte & 0x80:
            byte = self.byte()
            value = ((value + 1) << 7) | (byte & 0x7F)
            if value > len(self._pack):
                raise GitProtocolError("the pack holds a delta whose base is outside")
        return value

    def inflate(self, size: int, *, keep: bool) -> bytes | None:
        """The content of exactly `size` bytes that is compressed here, or None if it is only skipped."""
        stream = zlib.decompressobj()
        parts: list[bytes] = []
        total, pending = 0, b""
        while not stream.eof:
            if not pending:
                pending = bytes(self._pack[self.at : self.at + min(size + _SLACK, _PART)])
                self.at += len(pending)
                if not pending:
                    raise GitProtocolError("the pack is cut off")
            try:
                part = stream.decompress(pending, min(size - total + 1, _PART))
            except zlib.error as error:
                raise GitProtocolError("the pack holds broken data") from error
            pending = stream.unconsumed_tail
            total += len(part)
            if total > size:
                break
            if keep:
                parts.append(part)
        if total != size:
            raise GitProtocolError("the pack has an object whose size differs from its header")
        self.at -= len(stream.unused_data)
        return b"".join(parts) if keep else None
