"""An HTTP application on a listening socket, by uvicorn, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn

from git_events_runner.errors import ConfigError
from git_events_runner.rules.senders import Network, sender

from .connections import Connections
from .handshakes import secured
from .limits import Limits
from .protocol import Guard, GuardedProtocol

_STARTED_S = 0.005
_SWEEPS = 4
_SWEEP_S = 1.0
_BACKLOG = 1024  # one that does not fit comes again after a second; all are accepted in one turn of the loop
_EVERYWHERE = "0.0.0.0"  # noqa: S104  a pod serves its complete network
_LIMITS = Limits()


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield


class Server:
    """An application that is being served."""

    def __init__(self, server: uvicorn.Server, tasks: Sequence[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        self._server = server
        self._tasks = tasks
        self._task = task

    def stop(self) -> None:
        """Accept nothing more."""
        for task in self._tasks:
            task.cancel()
        self._server.should_exit = True

    async def close(self) -> None:
        """Accept nothing more; returns when the requests under way are answered, or their time is over."""
        self.stop()
        await asyncio.wait({self._task})


def listen(port: int, *, host: str) -> socket.socket:
    """A listening socket; 0.0.0.0 means all addresses, IPv6 too where the machine has it; port 0 takes a free one.

    Raises:
        ConfigError: The port is taken or may not be used.
    """
    try:
        everywhere = host == _EVERYWHERE and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if everywhere else socket.AF_INET
        # asyncio sets TCP_NODELAY on connections of sockets whose protocol is TCP; else an answer waits 40 ms.
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
    limits: Limits = _LIMITS,
    trusted_proxies: Sequence[Network] = (),
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> AsyncIterator[Server]:
    """Serve an ASGI application on a listening socket while entered; leaving answers what is under way, then closes.

    Connections are shared fairly by client address; those of `trusted_proxies`, which forward many clients, count
    one by one.
    """
    connections = Connections(limits.most_connections())
    guard = Guard(limits=limits, connections=connections, address_of=partial(sender, many=tuple(trusted_proxies)))
    protocol = type("_Protocol", (GuardedProtocol,), {"guard": guard})
    config = uvicorn.Config(
        app,
        http=protocol,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=round(limits.idle_s),
        timeout_graceful_shutdown=drain_s,
    )
    server = _Uvicorn(config)

    def make() -> GuardedProtocol:
        guarded: GuardedProtocol = protocol(config=config, server_state=server.server_state, app_state={})
        return guarded

    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(sockets=[] if tls else [sock]), name="http")
        while not server.started and not task.done():  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(_STARTED_S)
        tasks = [group.create_task(_sweep(connections, limits), name="sweep")]
        if tls is not None:
            tasks.append(group.create_task(secured(sock, make, connections, guard.address_of, tls), name="https"))
        served = Server(server, tasks, task)
        try:
            yield served
        finally:
            served.stop()


async def _sweep(connections: Connections, limits: Limits) -> None:
    """Close what is past its deadline; one pass per second is cheaper than a timer for each request."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(limits.header_s / _SWEEPS, _SWEEP_S))
        now = loop.time()
        for connection in connections:
            if isinstance(connection, GuardedProtocol) and connection.overdue(now):
                connection.abort()
