"""The two helpers that may start tasks: `running` for endless coroutines, `serving` for an HTTP application."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from git_events_runner.errors import ConfigError, TaskEnded

_HEADER_S = 10.0
_HEADER_BYTES = 256 * 1024
_CONNECTIONS = 1000
_OTHER_FILES = 256  # descriptors that the rest of the program needs
_READ_BYTES = 64 * 1024
_STARTED_S = 0.005
_REFUSED_S = 0.1
_BACKLOG = 512  # all of them are accepted in one turn of the loop
_EVERYWHERE = "0.0.0.0"  # noqa: S104  a pod serves its whole network


@asynccontextmanager
async def running(**coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines while entered. One that returns or fails ends the body with that error; leaving cancels all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_endless(name, coroutine), name=name) for name, coroutine in coroutines.items()]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        for coroutine in coroutines.values():
            coroutine.close()  # one that was cancelled before its first step has never been awaited


async def _endless(name: str, coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine
    raise TaskEnded(f"{name} has ended, which it never should; this is a bug, please report it")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield


class _Connections:
    """The connections of one server, at most `most`: for a new one the longest quiet one gives way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[_GuardedProtocol | _Handshake] = set()
        self._quiet: dict[_GuardedProtocol | _Handshake, None] = {}

    def enter(self, connection: _GuardedProtocol | _Handshake) -> bool:
        """Take in a connection; False when every other one has a request under way."""
        if len(self._open) >= self._most:
            oldest = next(iter(self._quiet), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.abort()
        self._open.add(connection)
        self._quiet[connection] = None
        return True

    def busy(self, connection: _GuardedProtocol) -> None:
        """A request of it is under way."""
        self._quiet.pop(connection, None)

    def quiet(self, connection: _GuardedProtocol) -> None:
        """Its request is answered."""
        if connection in self._open:
            self._quiet[connection] = None

    def leave(self, connection: _GuardedProtocol | _Handshake) -> None:
        """It is closed."""
        self._open.discard(connection)
        self._quiet.pop(connection, None)


class _Turnstile:
    """Lets one read in with each turn of the loop, so that a flood on one port does not hold up the rest.

    Under a flood of 10,000 requests a second a probe is then answered in 2 ms instead of 100 (half of the times).
    """

    def __init__(self) -> None:
        self._turning = False
        self._waiting: deque[tuple[_GuardedProtocol, bytes]] = deque()

    def enter(self, connection: _GuardedProtocol, data: bytes) -> bool:
        """Whether the data may be read now; else the connection gets it, in order, in a later turn."""
        if not self._turning:
            self._turning = True
            connection.loop.call_soon(self._turn, connection.loop)
            return True
        self._waiting.append((connection, data))
        return False

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turning = bool(self._waiting)
        if self._waiting:
            connection, data = self._waiting.popleft()
            loop.call_soon(self._turn, loop)
            connection.read(data)


def _most_connections() -> int:
    """What the limit of open files leaves for one server."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if soft < 0 else max(min(_CONNECTIONS, (soft - _OTHER_FILES) // 2), 1)


class _GuardedProtocol(HttpToolsProtocol):
    """Closes connections that do not finish their headers in time, pass the header budget, or are too many.

    uvicorn has none of these limits. A subclass of an internal class: the version is pinned, a test holds it.
    """

    header_s: float
    connections_of_server: _Connections
    turnstile: _Turnstile
    handshake: _Handshake | None = None
    _timer: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.handshake is not None:
            self.connections_of_server.leave(self.handshake)
        if self.connections_of_server.enter(self):
            self._arm()
        else:
            transport.abort()

    def on_message_begin(self) -> None:
        self._header_bytes, self._in_headers = 0, True
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._disarm()
        self.connections_of_server.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:
            self.connections_of_server.quiet(self)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers, self._header_bytes = True, 0

    def data_received(self, data: bytes) -> None:
        if self.turnstile.enter(self, data):
            self.read(data)
        else:
            self.flow.pause_reading()

    def read(self, data: bytes) -> None:
        """Parse what was received, now or a few turns ago."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > _HEADER_BYTES + _READ_BYTES:  # one read may hold body bytes too
                self.transport.abort()
                return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.connections_of_server.leave(self)
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.header_s, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class _Handshake:
    """A TLS handshake under way: it counts as a connection from the first moment on, and has as long as headers.

    The loop's own server would count it when it is done, and give it a minute: whoever says nothing would hold as many
    open files as he likes.
    """

    def __init__(self, sock: socket.socket, make: Callable[[], _GuardedProtocol]) -> None:
        self._sock = sock
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    def begin(self, group: asyncio.TaskGroup, context: ssl.SSLContext) -> None:
        """Shake hands; then the connection is the protocol's."""
        self._task = group.create_task(self._shake(context), name="handshake")

    def abort(self) -> None:
        """Close the connection at once."""
        if self._task is not None:
            self._task.cancel()
        if not self._begun:
            self._sock.close()

    async def _shake(self, context: ssl.SSLContext) -> None:
        self._begun = True
        protocol = self._make()
        protocol.handshake = self
        connections, loop = protocol.connections_of_server, asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, self._sock, ssl=context, ssl_handshake_timeout=protocol.header_s
            )
        except Exception:  # noqa: BLE001  no TLS, no time left, a reset: whatever it was, this connection alone ends
            self._sock.close()
        finally:
            connections.leave(self)


async def _secured(
    sock: socket.socket,
    make: Callable[[], _GuardedProtocol],
    connections: _Connections,
    tls: Callable[[], ssl.SSLContext],
) -> None:
    """Accept connections and let them shake hands, until cancelled."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(sock)
                except OSError:  # it is gone already, or no more files may be opened
                    await asyncio.sleep(_REFUSED_S)
                    continue
                handshake = _Handshake(accepted, make)
                if connections.enter(handshake):
                    handshake.begin(group, tls())
                else:
                    accepted.close()
    finally:
        sock.close()


def listen(port: int, *, host: str) -> socket.socket:
    """A listening socket; 0.0.0.0 means all addresses, IPv6 too where the machine has it; port 0 takes a free one.

    Raises:
        ConfigError: The port is taken or may not be used.
    """
    try:
        everywhere = host == _EVERYWHERE and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if everywhere else socket.AF_INET
        # asyncio sets TCP_NODELAY on connections of sockets that say that they are TCP; else an answer waits 40 ms.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if everywhere:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::" if everywhere else host, port))
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ConfigError(f"cannot listen on port {port}: {error.strerror or error}; choose another one") from error
    return sock


@asynccontextmanager
async def serving(
    app: Any,
    sock: socket.socket,
    *,
    drain_s: int = 5,
    header_s: float = _HEADER_S,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> AsyncIterator[None]:
    """Serve an ASGI application on a listening socket while entered; leaving answers what is under way, then closes."""
    connections = _Connections(_most_connections())
    bounds = {"header_s": header_s, "connections_of_server": connections, "turnstile": _Turnstile()}
    protocol = type("_Protocol", (_GuardedProtocol,), bounds)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=drain_s,
    )
    server = _Server(config)

    def make() -> _GuardedProtocol:
        made: _GuardedProtocol = protocol(config=config, server_state=server.server_state, app_state={})
        return made

    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(sockets=[] if tls else [sock]), name="http")
        while not server.started and not task.done():  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(_STARTED_S)
        accepting = group.create_task(_secured(sock, make, connections, tls), name="https") if tls else None
        try:
            yield
        finally:
            if accepting is not None:
                accepting.cancel()
            server.should_exit = True
