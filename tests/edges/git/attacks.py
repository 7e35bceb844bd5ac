"""What a git server over HTTP can do to a client: scripts for `scripted`, each for one connection."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager

from git_events_runner.edges.git.pktline import packet

ADVERTISED = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
V2 = b"000eversion 2\n0000"
REFS = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n"
LINE = packet(b"a" * 40 + b" refs/heads/other\n")


async def head_of(reader):
    return await reader.readuntil(b"\r\n\r\n")


async def silent(reader, writer):
    await reader.read()


async def dripping_head(reader, writer):
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_body(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: 99999\r\n\r\n")
    while True:
        writer.write(b"0")
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_answer(reader, writer):
    """The answer is a good one as far as it goes."""
    await head_of(reader)
    body = (b"%04x" % 60000) + bytes(60000)
    writer.write(ADVERTISED + b"Content-Length: 99999\r\n\r\n")
    for each in body:
        writer.write(bytes((each,)))
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_header(reader, writer):
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"y" * 65536)
        await writer.drain()


async def endless_headers(reader, writer):
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-A: y\r\n" * 1000)
        await writer.drain()


async def endless_continue(reader, writer):
    await head_of(reader)
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        await writer.drain()


async def endless_hints(reader, writer):
    await head_of(reader)
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await writer.drain()


async def endless_extension(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1;" + b"x" * 4000 + b"\r\n0\r\n")
        await writer.drain()


async def endless_trailers(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(V2), V2))
    while True:
        writer.write(b"X-A: y\r\n" * 1000)
        await writer.drain()


async def endless_small_chunks(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"00000001\r\n0\r\n" * 1000)
        await writer.drain()


async def unasked_responses(reader, writer):
    """Answers the first request rightly, and goes on answering."""
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: %d\r\n\r\n" % len(V2) + V2)
    while True:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n" * 1000)
        await writer.drain()


async def endless_references(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: 99999999999\r\n\r\n")
    while True:
        writer.write(LINE * 1000)
        await writer.drain()


async def endless_chunks(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"%x\r\n%s\r\n" % (len(LINE), LINE) * 1000)
        await writer.drain()


async def no_http(reader, writer):
    await head_of(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(100))


async def binary(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: 100\r\n\r\n" + bytes(range(100)))


async def hang_up(reader, writer):
    await head_of(reader)


async def cut_head(reader, writer):
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 O")


async def cut_length(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: 500\r\n\r\n" + V2)


async def cut_chunks(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Transfer-Encoding: chunked\r\n\r\n12\r\n" + V2[:-6])


async def gzip_unasked(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")


async def huge_refs_after_v2(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: %d\r\n\r\n" % len(V2) + V2)
    await head_of(reader)
    writer.write(REFS + b"Content-Length: 99999999999\r\n\r\n")
    while True:
        writer.write(LINE * 1000)
        await writer.drain()


async def endless_pack(reader, writer):
    await head_of(reader)
    writer.write(ADVERTISED + b"Content-Length: %d\r\n\r\n" % len(V2) + V2)
    await head_of(reader)
    writer.write(REFS + b"Content-Length: 99999999999\r\n\r\n000dpackfile\n")
    while True:
        writer.write((b"%04x\1" % 60005 + bytes(60000)) * 10)
        await writer.drain()


@contextmanager
def full_backlog():
    """A port where a connection is neither accepted nor refused: the queue is full, SYNs are dropped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            yield port


def refusing(status, *headers, body=b"no"):
    """Answers everything with this status."""

    async def refuse(reader, writer):
        while True:
            await head_of(reader)
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return refuse


def answering(answer, *, kind=V2, before=b""):
    """A server of v2 that gives this answer to every request, or, with another kind, this advertisement alone.

    `before` comes before the head of each.
    """

    async def serve(reader, writer):
        while True:
            head = await head_of(reader)
            if head.startswith(b"GET"):
                writer.write(before + ADVERTISED + b"Content-Length: %d\r\n\r\n" % len(kind) + kind)
                continue
            await reader.readuntil(b"0000")
            writer.write(before + REFS + b"Content-Length: %d\r\n\r\n" % len(answer) + answer)

    return serve


FORGED = [
    b"refs/heads/../../main",
    b"refs/heads/main\x1b[2J\r\nX: y",
    b"refs/heads/$(id)",
    b"refs/heads/main/" + b"x" * 4096,
    b"refs/heads/main\xff\x00",
    b"refs/heads/ma\xe2\x80\xaein",
]


def listed(*names):
    """The answer of a v2 server with these references."""
    return b"".join(packet(b"a" * 40 + b" " + name + b"\n") for name in names) + b"0000"


def older(*names, features=b"side-band-64k shallow"):
    """The advertisement of a server without v2."""
    first = packet(b"a" * 40 + b" HEAD\0" + features + b"\n")
    return first + listed(*names)
