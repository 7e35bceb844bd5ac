"""A proxy between a replica and the API server that makes faults: it ends TLS, reads requests, and knows each answer.

    with ApiProxy(control_plane) as proxy:
        proxy.rule("POST", "/jobs", "drop-after-ack")
        replica = replicas(0, server=proxy.kubeconfig)

Faults: `pass`; `drop-before` (the API server never sees it); `drop-after-ack` (it does, the answer is lost); `delay`;
`status`; `cut` (a stream in the middle of a line); `freeze` (a stream on which nothing comes any more); `late` (a
stream that is `seconds` behind); `error-event` (a watch ends with an ERROR of 410); `record` and `replay` (an old
answer again).
"""

import asyncio
import contextlib
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.servers.closing import close_server, end_tasks

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TOO_OLD = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "metadata": {}}}


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request: when it came (monotonic), verb, path with query, token, body; status once answered, 0 if not."""

    at: float
    verb: str
    path: str
    token: str
    body: bytes
    status: int = 0

    @property
    def mutates(self):
        """Whether it writes something that is no Lease and no Event."""
        return self.verb in MUTATING and "/leases" not in self.path and "/events" not in self.path

    @property
    def lists(self):
        """Whether it lists a kind."""
        return self.verb == "GET" and "limit=" in self.path

    @property
    def watches(self):
        """Whether it watches a kind."""
        return "watch=true" in self.path


@dataclass(slots=True, kw_only=True)
class Rule:
    """What happens to the `nth` matching request and the `times - 1` after it; `hits` counts them.

    `verb` may also be `*`, or `write`: whatever writes, but for Leases and Events. `body` is a regular expression, too;
    `chance` says how often a request that matches counts.
    """

    verb: str
    path: str
    what: str
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    status: int = 503
    headers: dict = field(default_factory=dict)
    token: str = ""
    body: str = ""
    chance: float = 1.0
    dice: random.Random | None = None
    raw: bytes = b""
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    seen: int = 0
    hits: int = 0

    def takes(self, exchange):
        """Whether it is this request's turn."""
        fits = exchange.mutates if self.verb == "write" else self.verb in {exchange.verb, "*"}
        if not fits or not re.search(self.path, exchange.path):
            return False
        if self.token and self.token != exchange.token:
            return False
        if self.body and not re.search(self.body.encode(), exchange.body):
            return False
        if self.dice and self.dice.random() >= self.chance:
            return False
        self.seen += 1
        hit = self.nth <= self.seen < self.nth + self.times
        self.hits += int(hit)
        return hit


class _Dropped(Exception):
    """The connection to the replica is to be closed."""


class ApiProxy:
    """Runs in a thread of its own while entered. `log` has every request in order."""

    def __init__(self, plane):
        self._plane = plane
        self._rules = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections = {}  # writer: its task, to which asyncio holds weak references only
        self._frozen = asyncio.Event()
        self._down = False
        self.log = []

    def __enter__(self):
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def kubeconfig(self):
        """What a replica's kubeconfig needs (`server=` of tests/system/replica.py)."""
        return {"server": self.url, "authority": self._plane.authority.path}

    def rule(self, verb, path, what, **more):
        """Add a fault; `path` is a regular expression on path and query. The first rule that takes a request counts."""
        rule = Rule(verb=verb, path=path, what=what, **more)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self):
        """Forget all faults; frozen streams go on."""
        with self._lock:
            self._rules.clear()
        self._loop.call_soon_threadsafe(self._frozen.set)

    @contextlib.contextmanager
    def down(self):
        """The API server is away: open connections are reset, new ones closed at once."""
        self._down = True
        self._run(self._reset())
        try:
            yield
        finally:
            self._down = False

    def reset(self):
        """Reset all open connections; new ones are served."""
        self._run(self._reset())

    def requests(self, *, since=0):
        """The requests from a place in the log on."""
        return self.log[since:]

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self):
        certificate, key = self._plane.authority.issue(f"proxy-{id(self)}")
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(certificate, key)
        self._client = ssl.create_default_context(cafile=str(self._plane.authority.path))
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=served, limit=2**22)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self):
        await close_server(self._server)
        await end_tasks()

    async def _reset(self):
        for writer in list(self._connections):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self._connections[writer] = asyncio.current_task()
        upstream = None
        try:
            with contextlib.suppress(
                asyncio.CancelledError,  # the proxy stops
                _Dropped,
                asyncio.IncompleteReadError,
                asyncio.LimitOverrunError,
                ConnectionError,
                ssl.SSLError,
                OSError,
            ):
                while not self._down:
                    exchange, raw = await self._request(reader)
                    if upstream is None:
                        upstream = await asyncio.open_connection(
                            "127.0.0.1", self._plane.port, ssl=self._client, limit=2**22
                        )
                    await self._answer(exchange, raw, writer, *upstream)
        finally:
            self._connections.pop(writer, None)
            for closing in (writer, upstream[1] if upstream else None):
                if closing is not None:
                    closing.transport.abort()

    async def _request(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        verb, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        headers = _headers(head)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        token = headers.get("authorization", "").removeprefix("Bearer ")
        exchange = Exchange(at=time.monotonic(), verb=verb, path=path, token=token, body=body)
        self.log.append(exchange)
        return exchange, head + body

    async def _answer(self, exchange, raw, writer, up_reader, up_writer):
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(exchange)), None)
        what = rule.what if rule else "pass"
        if rule and rule.before:
            await asyncio.to_thread(rule.before)
        if what == "drop-before":
            raise _Dropped
        if what == "delay":
            await asyncio.sleep(rule.seconds)
        if what == "status":
            writer.write(_refusal(rule.status, rule.headers))
            await writer.drain()
            exchange.status = rule.status
            return
        if what == "replay":
            writer.write(rule.raw)
            await writer.drain()
            return
        up_writer.write(raw)
        await up_writer.drain()
        head = await up_reader.readuntil(b"\r\n\r\n")
        exchange.status = int(head.split(b" ", 2)[1])
        headers = _headers(head)
        if exchange.watches and headers.get("transfer-encoding") == "chunked":
            await self._stream(what, rule, head, writer, up_reader)
            return
        body = await _body(headers, up_reader)
        if rule and rule.after:
            await asyncio.to_thread(rule.after)
        if what == "record":
            rule.raw = head + body
        if what == "drop-after-ack":
            raise _Dropped
        writer.write(head + body)
        await writer.drain()

    async def _stream(self, what, rule, head, writer, up_reader):
        """A watch: chunk by chunk."""
        writer.write(head)
        if what == "error-event":
            text = json.dumps(_TOO_OLD).encode() + b"\n"
            writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n0\r\n\r\n")
            await _flush(writer)
            raise _Dropped
        if what == "late":
            await _late(rule.seconds, writer, up_reader)
            return
        while True:
            chunk = await _chunk(up_reader)
            if what == "freeze":
                self._frozen.clear()
                await self._frozen.wait()
                what = "pass"
            if what == "cut":
                writer.write(chunk[: len(chunk) // 2])
                await _flush(writer)
                raise _Dropped
            writer.write(chunk)
            await writer.drain()
            if chunk.startswith(b"0\r\n"):
                return


async def _late(seconds, writer, reader):
    """Pass each chunk on `seconds` after it came."""
    loop, chunks = asyncio.get_running_loop(), asyncio.Queue()

    async def receive():
        try:
            while True:
                chunk = await _chunk(reader)
                chunks.put_nowait((loop.time() + seconds, chunk))
        finally:
            chunks.put_nowait((0.0, b""))

    receiving = asyncio.ensure_future(receive())
    try:
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(due - loop.time(), 0.0))
            if not chunk:
                raise _Dropped
            writer.write(chunk)
            await writer.drain()
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)


async def _flush(writer):
    """Close once everything is sent; an abort would take it back."""
    writer.close()
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(1):
            await writer.wait_closed()


def _headers(head):
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


async def _chunk(reader):
    size = await reader.readuntil(b"\r\n")
    return size + await reader.readexactly(int(size, 16) + 2)


async def _body(headers, reader):
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while True:
        chunk = await _chunk(reader)
        body += chunk
        if chunk.startswith(b"0\r\n"):
            return body


def _refusal(status, headers):
    body = json.dumps({"kind": "Status", "code": status, "message": "injected", "reason": ""}).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} injected\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
