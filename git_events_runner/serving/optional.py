"""Ports that are served or not, as one `async with` has them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from .limits import Limits
from .server import listen, serving


@contextlib.contextmanager
def listening(port: int, host: str, *, ports: bool) -> Iterator[socket.socket | None]:
    """The listening socket; None where nothing is to be served."""
    if not ports:
        yield None
        return
    with listen(port, host=host) as sock:
        yield sock


@asynccontextmanager
async def served(app: Any, sock: socket.socket | None, *, limits: Limits) -> AsyncIterator[None]:
    """Serve an application on its socket, if it has one."""
    if sock is None:
        yield
        return
    async with serving(app, sock, limits=limits):
        yield
