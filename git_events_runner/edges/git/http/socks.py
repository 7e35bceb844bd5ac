"""Connections through a SOCKS proxy, which resolves the names; imported when there is such a proxy."""

from __future__ import annotations

import asyncio
import socket
from ssl import SSLContext
from typing import Self, cast

import aiohttp
from aiohttp.client import ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from yarl import URL

from git_events_runner.edges.git.access import ProxyAccess
from git_events_runner.edges.git.resolver import ValidatingResolver

from .errors import ProxyLoginRefused
from .framing import count_on

# The library distinguishes them only by its text: RFC 1928, method 0xFF; RFC 1929, a status other than 0.
_LOGIN_REFUSED = frozenset(
    {"No acceptable authentication methods were offered", "Username and password authentication failure"}
)


class SocksConnector(ProxyConnector):
    """Its failures are aiohttp's."""

    @classmethod
    def to(cls, proxy: URL, *, keepalive_s: float) -> Self:
        """A connector through the proxy; it always behaves like socks5h and socks4a."""
        plain = proxy.with_scheme(proxy.scheme.rstrip("ha"))
        return cast("Self", cls.from_url(str(plain), rdns=True, limit=0, keepalive_timeout=keepalive_s))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """A connection, new or kept alive.

        Raises:
            aiohttp.ClientProxyConnectionError: The proxy is unreachable, or refuses the connection; as
                ProxyLoginRefused when it requires a user name and password, or different ones.
        """
        try:
            connection: Connection = await super().connect(req, traces, timeout)
        except (ProxyError, ProxyConnectionError, ProxyTimeoutError, EOFError) as error:
            kind = ProxyLoginRefused if str(error) in _LOGIN_REFUSED else aiohttp.ClientProxyConnectionError
            raise kind(req.connection_key, OSError(type(error).__name__)) from error
        return connection


class ValidatingSocksConnector(SocksConnector):
    """Through the proxy of a source: only to an allowed address, which is validated for each connection."""

    def __init__(self, access: ProxyAccess, *, resolver: ValidatingResolver, keepalive_s: float) -> None:
        proxy = URL(access.url)
        self._resolver = resolver
        self._port = proxy.port or 0
        self._name = proxy.host or ""
        self._access = access
        super().__init__(self._name, self._port, limit=0, keepalive_timeout=keepalive_s)

    async def _connect_via_proxy(
        self, host: str, port: int, ssl: SSLContext | None = None, timeout: float | None = None
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        try:
            found = await self._resolver.resolve(self._name, self._port, socket.AF_UNSPEC)
        except OSError as error:
            raise ProxyConnectionError("the proxy's name does not resolve") from error
        for place in found[:-1]:
            try:
                return await self._through(place["host"], host, port, ssl, timeout)
            except ProxyConnectionError:
                continue  # the next address of the name
        return await self._through(found[-1]["host"], host, port, ssl, timeout)

    async def _through(
        self, address: str, host: str, port: int, ssl: SSLContext | None, timeout: float | None
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """One attempt: the library resolves a proxy's name itself, so it gets the validated address instead."""
        access = self._access
        one = count_on(
            ProxyConnector(address, self._port, username=access.username, password=access.password, rdns=True, limit=0)
        )
        try:
            return await one._connect_via_proxy(host, port, ssl, timeout)  # noqa: SLF001  what this overrides
        finally:
            await one.close()
