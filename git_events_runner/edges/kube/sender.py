"""One request to the API server: its headers, a token that is renewed when it is refused, the server's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from .connection import Connection
from .server_clock import ServerClock

_UNAUTHORIZED = 401


class Sender:
    """Sends requests over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._distrusted_since: float | None = None
        self.clock = ServerClock()

    def trusted_at(self) -> float:
        """The loop's time when the server's certificate was last not known to be refused."""
        return asyncio.get_running_loop().time() if self._distrusted_since is None else self._distrusted_since

    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        content_type: str | None,
        limits: aiohttp.ClientTimeout | None,
    ) -> aiohttp.ClientResponse:
        """Send; once more with a token just read when the old one is refused, which means that nothing was done."""
        sent_at = self.clock.begin()
        try:
            response = await self._send_once(method, path, query, data, content_type, limits)
        except aiohttp.ClientConnectorCertificateError:
            self._distrusted_since = self.trusted_at()
            await self._connection.renew()  # the CA may have been rotated: the next request trusts what is there now
            raise
        self._distrusted_since = None
        self.clock.observe(response.headers.get("Date"), sent_at)
        if response.status != _UNAUTHORIZED or not await self._connection.renew():
            return response
        response.close()
        return await self._send_once(method, path, query, data, content_type, limits)

    async def _send_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        content_type: str | None,
        limits: aiohttp.ClientTimeout | None,
    ) -> aiohttp.ClientResponse:
        connection = self._connection
        headers = {"Accept": "application/json", "User-Agent": "git-events-runner"}
        authorization = await connection.authorization()
        if authorization:
            headers["Authorization"] = authorization
        if data is not None and content_type:
            headers["Content-Type"] = content_type
        return await connection.session.request(
            method,
            connection.url + path,
            params=query,
            data=data,
            headers=headers,
            proxy=connection.proxy,
            allow_redirects=False,
            timeout=limits or aiohttp.ClientTimeout(sock_connect=10),
        )
