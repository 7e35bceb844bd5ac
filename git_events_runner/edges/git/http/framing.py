"""Counts every byte that a git server sends, including those that no parser of git's protocol reads.

HTTP has many: informational responses, header lines, extensions of chunks, trailers, unsolicited responses. SSH has
messages to ignore, debug messages, key exchanges. They cost time and may come without end. So what is no content may
be as much as the content, and a little more.

`CountingHandler` extends a class that aiohttp does not document for it, at three methods, and `count_on` puts it into a
connector's private factory. `tests/edges/git/test_git_framing.py` tests both: if it fails after an upgrade of
aiohttp, compare `ResponseHandler`'s methods of these names, and where connectors create their protocols.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler

HEAD_BYTES = 300 * 1024
"""Status line, headers and informational responses before a response, all together; git takes as many."""

HEADERS = 5000
"""Lines of headers of a response; the same."""

INFORMATIONAL = 16
"""Responses with a status of 1xx before a response."""

SPARE_BYTES = 512 * 1024
"""Bytes allowed in addition to twice the content of a response; more than a connection buffers."""

SSH_SPARE_BYTES = 128 * 1024
"""The same for a request over SSH; a login takes 8 KiB, and a banner may have 64."""

SSH_WINDOW_BYTES = 512 * 1024
"""What a command may write before it is read (RFC 4254, 5.2): enough for 10 MB/s over 50 ms."""

_SLICE_BYTES = 4 * 1024
_Connector = TypeVar("_Connector", bound=aiohttp.BaseConnector)


class FramingTooLarge(aiohttp.ClientPayloadError):
    """A server sent more bytes that are not content of its responses than allowed."""


class CountingHandler(ResponseHandler):
    """Ends a connection on which more comes than a response and its framing."""

    _received = 0
    _informational = 0
    _in_head = True

    def set_response_params(self, **params: Any) -> None:
        """A request begins; the next bytes are its response."""
        self._received = self._informational = 0
        self._in_head = True
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """A head is complete; that of an informational response is not yet the response's."""
        if 100 <= data[0].code < 200:  # noqa: PLR2004  RFC 9110, 15.2
            self._informational += 1
        else:
            self._in_head = False
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head only in small parts, so that no more of it is parsed than is allowed."""
        at = 0
        while True:
            part = data[at : at + _SLICE_BYTES] if self._in_head else data[at:]
            at += len(part)
            self._received += len(part)
            super().data_received(part)
            if self._excessive:
                self._refuse()
            if at >= len(data) or self.transport is None or self.transport.is_closing():
                return

    @property
    def _excessive(self) -> bool:
        if self._in_head:
            return self._received > HEAD_BYTES or self._informational > INFORMATIONAL
        content = self._payload.total_bytes if self._payload is not None else 0
        return self._received > SPARE_BYTES + 2 * content

    def _refuse(self) -> None:
        error = FramingTooLarge("the server sends too many bytes that are not part of its response")
        self.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


def count_on(connector: _Connector) -> _Connector:
    """The connector, with connections that count."""
    connector._factory = partial(CountingHandler, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # noqa: SLF001
    return connector


class Meter:
    """Counts what one SSH server sends; `content` gets the sizes of what commands wrote."""

    def __init__(self) -> None:
        self._received = self._content = self._commands = 0
        self.passed = False

    def begin(self) -> None:
        """A command begins: what was sent before it does not count against it."""
        self._received = self._content = 0
        self._commands += 1

    def end(self) -> None:
        """A command has ended."""
        self._commands -= 1

    def content(self, size: int) -> None:
        """So many bytes were written by a command."""
        self._content += size

    def received(self, size: int) -> None:
        """So many bytes came on the connection; a window's worth of each command's may not be delivered yet."""
        self._received += size
        most = SSH_SPARE_BYTES + SSH_WINDOW_BYTES * self._commands + 2 * self._content
        self.passed = self.passed or self._received > most


class MeteredTunnel:
    """asyncssh opens connections through it, as through another host: it counts what comes, and ends a flood."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    async def create_connection(
        self, factory: Callable[..., Any], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, Any]:
        """Connect, and give the connection that the factory makes.

        Raises:
            OSError: The connection fails.
        """
        protocol = factory()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Metered(protocol, self._meter), host, port)
        return transport, protocol


class _Metered(asyncio.Protocol):
    """Passes everything on to a connection of the library, and counts."""

    def __init__(self, inner: Any, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), _SLICE_BYTES):
            part = data[at : at + _SLICE_BYTES]
            self._meter.received(len(part))
            self._inner.data_received(part)
            if self._meter.passed and self._transport is not None:
                self._inner.abort()
                self._transport.abort()
                return

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
