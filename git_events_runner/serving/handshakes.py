"""Connections with TLS: accepted here, so that handshakes are counted and limited from their first moment."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Hashable

from .connections import Connections
from .protocol import GuardedProtocol

_REFUSED_S = 0.1


class _Handshake:
    """A TLS handshake under way: it counts as a connection from the first moment on, and has as long as headers.

    The loop's own server would count it when it is done, and give it a minute: clients that send nothing would hold
    as many open files as they like.
    """

    waits = True

    def __init__(self, sock: socket.socket, make: Callable[[], GuardedProtocol], address: Hashable, now: float) -> None:
        self._sock = sock
        self._make = make
        self.address = self if address is None else address
        self.moved_at = now
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    def begin(self, group: asyncio.TaskGroup, context: ssl.SSLContext) -> None:
        """Shake hands; then the connection is the protocol's."""
        self._task = group.create_task(self._shake(context), name="handshake")

    def abort(self) -> None:
        """Close the connection immediately."""
        if self._task is not None:
            self._task.cancel()
        if not self._begun:
            self._sock.close()

    async def _shake(self, context: ssl.SSLContext) -> None:
        self._begun = True
        protocol = self._make()
        protocol.handshake = self
        guard, loop = protocol.guard, asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, self._sock, ssl=context, ssl_handshake_timeout=guard.limits.header_s
            )
        except Exception:  # noqa: BLE001  no TLS, no time left, a reset: any of them ends this connection alone
            self._sock.close()
        finally:
            guard.connections.leave(self)


async def secured(
    sock: socket.socket,
    make: Callable[[], GuardedProtocol],
    connections: Connections,
    address_of: Callable[[str], Hashable],
    tls: Callable[[], ssl.SSLContext],
) -> None:
    """Accept connections and let them shake hands, until cancelled."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, peer = await loop.sock_accept(sock)
                except OSError:  # it is closed already, or no more files may be opened
                    await asyncio.sleep(_REFUSED_S)
                    continue
                handshake = _Handshake(accepted, make, address_of(peer[0]), loop.time())
                if connections.enter(handshake):
                    handshake.begin(group, tls())
                else:
                    accepted.close()
    finally:
        sock.close()
