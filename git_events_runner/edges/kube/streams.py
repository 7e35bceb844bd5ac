"""The streams of a watch (lines of JSON) and of a log; the other end may disappear without a packet."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from git_events_runner.errors import ApiUnavailable

_LINE_BYTES = 16 * 2**20
# TCP probes after 30 s of silence, every 10 s, and closes the connection when three probes have no answer.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the system notice a node or a connection that does not exist any more: who only reads never would."""
    transport = response.connection.transport if response.connection else None
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        option = getattr(socket, name, None)  # macOS has the first under another name
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def lines(response: aiohttp.ClientResponse, what: str) -> AsyncIterator[dict[str, Any]]:
    """JSON objects, one a line; a line that the stream's end cuts is dropped.

    Raises:
        ApiUnavailable: The stream was cut, was silent for too long, or is none of JSON objects.
    """
    buffer = bytearray()
    try:
        async for chunk in response.content.iter_any():
            buffer += chunk
            end = buffer.rfind(b"\n")
            if end < 0:
                if len(buffer) > _LINE_BYTES:
                    raise ApiUnavailable(f"{what}: a line is longer than {_LINE_BYTES} bytes")
                continue
            complete = bytes(buffer[:end]).split(b"\n")
            del buffer[: end + 1]
            for line in complete:
                if line.strip():
                    event = orjson.loads(line)
                    if not isinstance(event, dict):
                        raise ApiUnavailable(f"{what}: a line is no object")
                    yield event
    except (TimeoutError, aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
        raise ApiUnavailable(f"{what}: {str(error) or type(error).__name__}") from error


async def pieces(response: aiohttp.ClientResponse, what: str) -> AsyncIterator[bytes]:
    """The text of a log, as it comes.

    Raises:
        ApiUnavailable: The stream was cut, or was silent for too long.
    """
    try:
        async for piece in response.content.iter_any():
            yield piece
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ApiUnavailable(f"{what}: {str(error) or type(error).__name__}") from error
