"""Proxies for tests: HTTP (CONNECT and whole URLs) and SOCKS5 with the name resolved there; each counts what it saw."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.servers.closing import serving


async def _copy(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _join(reader, writer, near, port, first=b""):
    """Pass everything on to a server of this machine, whatever name was asked for."""
    far_reader, far_writer = await asyncio.open_connection(near, port)
    try:
        far_writer.write(first)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    finally:
        far_writer.close()


async def _http(reader, writer, seen, login, near):
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b" ", 2)
    lines = head.split(b"\r\n")
    given = next((line.split(b" ", 1)[1] for line in lines if line.lower().startswith(b"proxy-authorization")), b"")
    seen.append((method.decode(), target.decode(), given.decode()))
    if login is not None and given.split() != [b"Basic", base64.b64encode(":".join(login).encode())]:
        writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return await _end(writer)
    if method == b"CONNECT":
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        return await _join(reader, writer, near, int(target.rpartition(b":")[2]))
    place = urlsplit(target.decode())
    first = head.replace(target, target[len(f"{place.scheme}://{place.netloc}") :], 1)
    first = first.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)  # one request a connection is enough
    return await _join(reader, writer, near, place.port, first)


async def _end(writer):
    await writer.drain()
    writer.close()


async def _socks(reader, writer, seen, login, near):
    _, methods = await reader.readexactly(2)
    offered = await reader.readexactly(methods)
    given = ""
    if login is not None and 2 not in offered:
        writer.write(b"\x05\xff")
        return await _end(writer)
    writer.write(b"\x05\x00" if login is None else b"\x05\x02")
    if login is not None:
        name, word = [await reader.readexactly((await reader.readexactly(n))[-1]) for n in (2, 1)]
        given = f"{name.decode()}:{word.decode()}"
        writer.write(b"\x01\x00" if given == ":".join(login) else b"\x01\x01")
        if given != ":".join(login):
            return await _end(writer)
    _, _, _, kind = await reader.readexactly(4)
    size = (await reader.readexactly(1))[0] if kind == 3 else 4
    host = await reader.readexactly(size)
    port = int.from_bytes(await reader.readexactly(2))
    seen.append(("SOCKS", f"{host.decode() if kind == 3 else host}:{port}", given))
    writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
    return await _join(reader, writer, near, port)


@asynccontextmanager
async def proxy(
    kind: str, login: tuple[str, str] | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, list[tuple[str, str, str]]]]:
    """An `http` or `socks5` proxy, perhaps for one user: its URL, and what it saw (method, target, credential)."""
    seen: list[tuple[str, str, str]] = []

    async def serve(reader, writer):
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await (_http if kind == "http" else _socks)(reader, writer, seen, login, host)
        finally:
            writer.close()

    async with serving(serve, host) as port:
        yield f"{kind}://{host}:{port}", seen
