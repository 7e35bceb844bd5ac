"""A sender that is answered before it has sent everything reads its answer, whatever it still sends."""

import asyncio
import contextlib

import pytest

from git_events_runner.serving import Limits
from tests.flow.hooks import served
from tests.forges import deliveries as d

_PART = b"x" * 65536
_HOST = b"Host: hooks\r\n"


def _large(path, *headers, length=12 * 2**20):
    """A request whose body is larger than what the buffers of both sides hold."""
    lines = [f"POST {path} HTTP/1.1".encode(), b"Host: hooks", *headers, f"Content-Length: {length}".encode()]
    return b"\r\n".join(lines) + b"\r\n\r\n" + _PART * (length // len(_PART))


async def _answer(port, data):
    """The status of what comes back, read after everything was sent; a reset fails."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    try:
        async with asyncio.timeout(20):
            for start in range(0, len(data), len(_PART)):
                writer.write(data[start : start + len(_PART)])
                await writer.drain()
            found = await reader.readexactly(12)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return int(found[9:12])


REFUSED = {
    "too large": (413, _large("/ns/open", b"Connection: close")),
    "too large, kept alive": (413, _large("/ns/open")),
    "too large, in chunks": (
        413,
        b"POST /ns/open HTTP/1.1\r\n"
        + _HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + _PART + b"\r\n") * 160,
    ),
    "compressed": (415, _large("/ns/open", b"Content-Encoding: gzip", length=3 * 2**20)),
    "no such trigger": (404, _large("/ns/none", b"Connection: close", length=3 * 2**20)),
    "no proof": (401, _large("/ns/github", b"Connection: close", length=3 * 2**20)),
    "no HTTP": (400, b"\0\1\2\r\n\r\n" + _PART * 100),
    "no HTTP after headers": (
        400,
        b"POST /ns/open HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + _PART * 100,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_senders_read_why(case):
    """Megabytes that are never read are on their way while the answer is written; it arrives."""
    status, data = REFUSED[case]
    async with served() as port:
        for _ in range(3):
            assert await _answer(port, data) == status
        assert await port.post("/ns/github", d.github()) == 202


async def test_a_pipelined_request_does_not_cost_the_first_its_answer():
    """The second is not read; the first is answered, and its sender reads that."""
    first = b"POST /ns/open HTTP/1.1\r\n" + _HOST + b"Content-Length: 1\r\n\r\nx"
    async with served() as port:
        assert await _answer(port, first + _large("/ns/open", length=2**20)) == 202


async def _until_closed(writer, part, pause_s=0.0):
    """Send on until the connection is reset; the bytes that were sent."""
    sent = 0
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(part)
                await writer.drain()
                sent += len(part)
                await asyncio.sleep(pause_s)
    writer.close()
    return sent


_ENDLESS = b"POST /ns/open HTTP/1.1\r\n" + _HOST + b"Content-Length: 99999999\r\n\r\n"


async def test_a_sender_that_never_ends_is_closed():
    """It has `linger_s` after its answer, then the connection is over, however little comes."""
    async with served(limits=Limits(header_s=0.4, linger_s=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(_ENDLESS)
        assert (await asyncio.wait_for(reader.readexactly(12), 20)).endswith(b"413")
        assert await _until_closed(writer, b"x", 0.01) < 4096


async def test_what_is_dropped_is_bounded():
    """A fast sender is closed after the bytes of one message, not after seconds."""
    async with served(limits=Limits(message_bytes=2**20, linger_s=60)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(_ENDLESS)
        assert await _until_closed(writer, _PART) < 32 * 2**20
