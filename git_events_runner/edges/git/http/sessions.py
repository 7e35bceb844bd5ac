"""HTTP sessions: direct ones, and those through proxies of the environment or of a source.

The author of a source chooses its proxy, so the address of that proxy is validated like a server's. The administrator
chooses the environment's proxy, so its address is not. Only requests with the same proxy and credential share
connections.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from git_events_runner.edges.git.access import ProxyAccess
from git_events_runner.edges.git.allowed_addresses import Addresses
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.request import Credential, Repository
from git_events_runner.edges.git.resolver import Names, ValidatingResolver

from .framing import HEAD_BYTES, HEADERS, count_on
from .proxies import Proxies

# Hosting services answer as to a browser unless the agent begins with "git/".
# Without Accept-Encoding a server may choose any (RFC 9110, 12.5.3).
_ALWAYS = {"User-Agent": "git/git-events-runner", "Accept-Encoding": "identity"}
_SKIPPED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_KEEPALIVE_S = 75.0
_KEPT = 64
_HTTP = frozenset({"http", "https"})
# None: direct, and through HTTP proxies of sources, which each request names. A URL: of the environment.
_Key = URL | ProxyAccess | None


class _Held:
    """A session, and how many requests are under way on it."""

    __slots__ = ("active", "session")

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.active = 0


class Sessions:
    """The sessions used last; idle ones beyond 64 are closed."""

    def __init__(self, *, limits: Limits, addresses: Addresses, proxies: Proxies) -> None:
        self._limits = limits
        self._addresses = addresses
        self._proxies = proxies
        self._names = Names()
        self._held: OrderedDict[_Key, _Held] = OrderedDict()

    async def close(self) -> None:
        """Close the connections; new ones can be made afterwards."""
        found = list(self._held.values())
        self._held.clear()
        for held in found:
            await held.session.close()

    @asynccontextmanager
    async def request(
        self,
        repository: Repository,
        method: str,
        url: URL,
        *,
        body: bytes,
        headers: Mapping[str, str],
        context: ssl.SSLContext | bool,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to one request, through the repository's proxy if there is one; redirects are not followed.

        Raises:
            GitAddressRefused: The server's or the source's proxy's address may not be connected to.
            GitUnsupported: A variable of the environment holds no proxy's URL.
            aiohttp.ClientError: Any other failure.
        """
        key, proxy, login = self._way(repository, url)
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = _Held(self._session(key))
        self._held.move_to_end(key)
        held.active += 1
        try:
            if len(self._held) > _KEPT:
                await self._close_idle()
            async with held.session.request(
                method,
                url,
                data=body or None,
                headers={**headers, **login} if login and url.scheme == "http" else headers,
                allow_redirects=False,
                ssl=context,
                proxy=proxy,
                proxy_headers=login,  # sent with CONNECT, and part of what distinguishes connections
            ) as answer:
                yield answer
        finally:
            held.active -= 1

    def _way(self, repository: Repository, url: URL) -> tuple[_Key, URL | None, Mapping[str, str] | None]:
        """Which session, and the HTTP proxy that a request on it names with the header of its login."""
        access = repository.proxy
        if access is None:
            found = self._proxies.proxy_for(url)
            return found, (found if found is not None and found.scheme in _HTTP else None), None
        proxy = URL(access.url)
        self._addresses.check(proxy.raw_host or "")
        if proxy.scheme not in _HTTP:
            return access, None, None
        if access.username is None:
            return None, proxy, None
        login = Credential.basic(access.username, access.password or "")
        return None, proxy, {"Proxy-Authorization": login.authorization}

    def _session(self, key: _Key) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector(key),
            headers=_ALWAYS,
            skip_auto_headers=_SKIPPED,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=self._limits.idle_s),
            auto_decompress=False,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEADERS,
        )

    def _connector(self, key: _Key) -> aiohttp.BaseConnector:
        if key is None:
            resolver = ValidatingResolver(self._addresses, self._names)
            return count_on(aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, resolver=resolver))
        if isinstance(key, URL) and key.scheme in _HTTP:
            return count_on(aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S))
        from .socks import SocksConnector, ValidatingSocksConnector

        if isinstance(key, URL):
            return count_on(SocksConnector.to(key, keepalive_s=_KEEPALIVE_S))
        return ValidatingSocksConnector(
            key, resolver=ValidatingResolver(self._addresses, self._names), keepalive_s=_KEEPALIVE_S
        )

    async def _close_idle(self) -> None:
        """Close the idle sessions used longest ago, until there are few enough."""
        idle = [key for key, held in self._held.items() if not held.active][: len(self._held) - _KEPT]
        for held in [self._held.pop(key) for key in idle]:
            await held.session.close()
