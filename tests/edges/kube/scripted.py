"""An API server that answers as a test tells it to, on a real socket: wrong tokens, cut streams, silence."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tests.servers.closing import close_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: verb, path, query, headers (lower case), body."""

    verb: str
    path: str
    query: dict
    headers: dict
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer: status, JSON body (or bytes), headers; `lines` are sent as a stream, which `ending` ends.

    `ending`: "eof" closes the chunks cleanly, "cut" closes the socket in the middle, "silence" keeps it open.
    """

    status: int = 200
    body: object = None
    headers: dict = field(default_factory=dict)
    lines: tuple = ()
    ending: str = "eof"


class Server:
    """`answers` are given one after another, the last one for ever; `asked` are the requests so far."""

    def __init__(self, *answers, tls=None):
        self.answers, self._tls = list(answers), tls
        self.asked = []
        self.url = ""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._tasks = set()
        return self

    async def __aexit__(self, *_):
        await close_server(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self._tasks.discard(asyncio.current_task())
            writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.strip().split("\r\n")
        verb, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        self.asked.append(
            Asked(verb=verb, path=parts.path, query=dict(parse_qsl(parts.query)), headers=headers, body=body)
        )
        reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if reply is None:
            await asyncio.sleep(3600)  # silence
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        start = f"HTTP/1.1 {reply.status} x\r\nContent-Type: application/json\r\n{extra}"
        if not reply.lines:
            text = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body or {}).encode()
            writer.write(f"{start}Content-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
            return
        writer.write(f"{start}Transfer-Encoding: chunked\r\n\r\n".encode())
        for line in reply.lines:
            text = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        await writer.drain()
        if reply.ending == "silence":
            await asyncio.sleep(3600)
        if reply.ending == "cut":
            writer.close()
            raise ConnectionError
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def status(code, reason="", message="", **details):
    """A Status object."""
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def page(*items, version="10", token=None):
    """A page of a list."""
    metadata = {"resourceVersion": version} | ({"continue": token} if token else {})
    return {"kind": "List", "metadata": metadata, "items": list(items)}


def job(name="a", *, uid="u1", version="1", annotations=None, labels=None, **more):
    """A Job as the API server sends it."""
    metadata = {"name": name, "namespace": "n", "uid": uid, "resourceVersion": version}
    metadata |= {"annotations": annotations or {}, "labels": labels or {}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}, **more}
