"""Name resolution for HTTP that gives only addresses that may be connected to."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from .addresses import Addresses, refused


class JudgingResolver(AbstractResolver):
    """Resolves names as the system does, and gives only addresses that may be connected to."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._inner = ThreadedResolver()

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
