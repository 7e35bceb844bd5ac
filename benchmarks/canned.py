"""A git server that answers from memory, so that the clients' own costs are seen: `python -m benchmarks.canned …`.

Any path with /refs-N/ in it is a repository of N branches beside `main`; under /slow/ every answer comes 50 ms later.
Arguments: HTTP port, HTTPS port, certificate, key.
"""

import asyncio
import functools
import ssl
import sys

import uvloop

SLOW_S = 0.05
HEAD = "4234412468e29c7eeba9ea3c25de8de69e34d098"
_V2 = b"version 2\n", b"agent=git/canned\n", b"ls-refs=unborn\n", b"fetch=shallow filter\n", b"object-format=sha1\n"
_V0 = b"\0side-band-64k ofs-delta shallow filter object-format=sha1 agent=git/canned"


def _packet(data):
    return b"%04x%s" % (len(data) + 4, data)


def _answer(kind, body):
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@functools.cache
def _names(count):
    return ["main", *(f"topic/branch-{n}" for n in range(count - 1))]


@functools.cache
def advertisement(count, *, v2):
    """Answer to GET info/refs."""
    lines = [_packet(b"# service=git-upload-pack\n"), b"0000"]
    if v2:
        lines += map(_packet, _V2)
    else:
        refs = [f"{HEAD} refs/heads/{name}".encode() for name in _names(count)]
        lines += [_packet(refs[0] + _V0 + b"\n"), *(_packet(ref + b"\n") for ref in refs[1:])]
    return _answer("advertisement", b"".join([*lines, b"0000"]))


@functools.cache
def references(count, *, only):
    """Answer to ls-refs: `main` when prefixes are given, else every branch."""
    names = _names(count)[:1] if only else _names(count)
    return _answer("result", b"".join([*(_packet(f"{HEAD} refs/heads/{n}\n".encode()) for n in names), b"0000"]))


class Connection(asyncio.Protocol):
    """One connection, one request after another."""

    def __init__(self):
        self._pending = b""

    def connection_made(self, transport):
        """It is open."""
        self._transport = transport

    def data_received(self, data):
        """Answer every request that is whole."""
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._pending) < end + 4 + size:
                if b"100-continue" in head:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = self._pending[end + 4 : end + 4 + size]
            self._pending = self._pending[end + 4 + size :]
            self._reply(head, body)

    def _reply(self, head, body):
        path = head.split(b" ", 2)[1]
        count = int(path.partition(b"/refs-")[2].partition(b"/")[0])
        if head.startswith(b"get"):
            answer = advertisement(count, v2=b"version=2" in head)
        else:
            answer = references(count, only=b"ref-prefix refs/heads/main" in body)
        if path.startswith(b"/slow/"):
            asyncio.get_running_loop().call_later(SLOW_S, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve(port, tls_port, certificate, key):
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    await loop.create_server(Connection, "127.0.0.1", int(port))
    await loop.create_server(Connection, "127.0.0.1", int(tls_port), ssl=context)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
