"""Packets of git's wire protocol, incrementally and within a byte cap (gitprotocol-common, "pkt-line Format")."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from git_events_runner.errors import GitCutOff, GitProtocolError, GitTooLarge

_HEADER = 4
_LARGEST = 65520
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Marker(IntEnum):
    """The packets without payload; their value is the length they are written with."""

    FLUSH = 0
    DELIM = 1
    END = 2


Packet = bytes | Marker


def packet(payload: bytes) -> bytes:
    r"""One packet.

    >>> packet(b"done\n")
    b'0009done\n'
    """
    return b"%04x%s" % (len(payload) + _HEADER, payload)


class PacketReader:
    """Cuts a stream of bytes into packets; holds at most one unfinished packet (64 KiB)."""

    __slots__ = ("_limit_bytes", "_rest", "_seen_bytes", "_what")

    def __init__(self, what: str, *, limit_bytes: int) -> None:
        self._what = what
        self._limit_bytes = limit_bytes
        self._seen_bytes = 0
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are complete now.

        Raises:
            GitProtocolError: The bytes are no packets (an HTML page, for instance).
            GitTooLarge: More bytes than the limit came.
        """
        self._seen_bytes += len(data)
        if self._seen_bytes > self._limit_bytes:
            raise GitTooLarge(f"{self._what} is larger than {self._limit_bytes} bytes")
        data = self._rest + data
        self._rest = b""
        start, end = 0, len(data)
        while end - start >= _HEADER:
            head = data[start : start + _HEADER]
            if not _HEX.issuperset(head):
                raise GitProtocolError(f"{self._what} is not git's protocol: it starts a packet with {head!r}")
            length = int(head, 16)
            if length < _HEADER:
                if length > Marker.END:
                    raise GitProtocolError(f"{self._what} holds a packet of the impossible length {length}")
                start += _HEADER
                yield Marker(length)
                continue
            if length > _LARGEST:
                raise GitProtocolError(f"{self._what} holds a packet of {length} bytes; git allows {_LARGEST}")
            if end - start < length:
                break
            yield data[start + _HEADER : start + length]
            start += length
        self._rest = data[start:]

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            GitCutOff: In the middle of a packet.
        """
        if self._rest:
            raise GitCutOff(f"{self._what} was cut off inside a packet after {self._seen_bytes} bytes")
