"""Name resolution in threads of its own; for HTTP it gives only addresses that may be connected to."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from git_events_runner.concurrency.pools import Pool

from .allowed_addresses import Addresses, refused

# More than there are checks under way: a name server that never answers holds a thread for a minute, and no other
# name may wait for it. A waiting thread costs next to nothing.
_THREADS = 64


class Names:
    """The part of an event loop that looks up names: the system's calls, in a pool of their own."""

    def __init__(self) -> None:
        self._pool = Pool("names", threads=_THREADS)

    async def getaddrinfo(self, host: str, port: int, **how: int) -> list[Any]:
        """As the event loop's method.

        Raises:
            OSError: The name does not resolve.
        """
        return await self._pool.run(lambda: socket.getaddrinfo(host, port, **how))

    async def getnameinfo(self, address: Any, flags: int = 0) -> tuple[str, str]:
        """As the event loop's method.

        Raises:
            OSError: The address has no name.
        """
        return await self._pool.run(socket.getnameinfo, address, flags)


class ValidatingResolver(AbstractResolver):
    """Resolves names as the system does, and gives only addresses that may be connected to."""

    def __init__(self, addresses: Addresses, names: Names) -> None:
        self._addresses = addresses
        self._inner = ThreadedResolver(loop=cast("asyncio.AbstractEventLoop", names))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of a name.

        Raises:
            GitAddressRefused: All of them are refused.
            OSError: The name does not resolve.
        """
        found = await self._inner.resolve(host, port, family)
        good = [each for each in found if self._addresses.allows(each["host"])]
        if not good:
            raise refused()
        return good

    async def close(self) -> None:
        """Release what the system's resolver holds."""
        await self._inner.close()
