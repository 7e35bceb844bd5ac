"""Connections through a SOCKS proxy, which resolves the names; imported when a variable names such a proxy."""

from __future__ import annotations

from typing import Self, cast

import aiohttp
from aiohttp.client import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from yarl import URL


class SocksConnector(ProxyConnector):
    """Its failures are aiohttp's."""

    @classmethod
    def to(cls, proxy: URL, *, keepalive_s: float) -> Self:
        """A connector through the proxy; socks5h and socks4a are what it does anyway."""
        plain = proxy.with_scheme(proxy.scheme.rstrip("ha"))
        return cast("Self", cls.from_url(str(plain), rdns=True, limit=0, keepalive_timeout=keepalive_s))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """A connection, new or kept alive.

        Raises:
            aiohttp.ClientProxyConnectionError: The proxy is not there, or does not let us through.
        """
        try:
            made: Connection = await super().connect(req, traces, timeout)
        except (ProxyError, ProxyConnectionError, ProxyTimeoutError) as error:
            raise aiohttp.ClientProxyConnectionError(req.connection_key, OSError(type(error).__name__)) from error
        return made
