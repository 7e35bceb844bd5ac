"""The proxy for a URL, from the usual environment variables (curl's rules, lower case before upper case)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from git_events_runner.edges.git.request import shown
from git_events_runner.errors import GitUnsupported

# `host`, `.domain`, `10.0.0.0/8`, `[::1]`, each with a port or without; a bare IPv6 address does not match.
_ENTRY = re.compile(r"(?P<host>\[[^\]]+\]|[^:]+)(?::(?P<port>\d{1,5}))?")
_SCHEMES = frozenset({"http", "https", "socks4", "socks5", "socks5h", "socks4a"})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Proxies:
    """Proxies by the scheme of the target (`http`, `https`, `all`), and the hosts that are reached without one."""

    by_scheme: Mapping[str, str]
    without: tuple[str, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        """From HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case."""

        def read(name: str) -> str:
            return (environ.get(name) or environ.get(name.upper()) or "").strip()

        found = {scheme: read(f"{scheme}_proxy") for scheme in ("http", "https", "all")}
        without = tuple(part.strip().lower() for part in read("no_proxy").split(",") if part.strip())
        return cls(by_scheme={scheme: proxy for scheme, proxy in found.items() if proxy}, without=without)

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy for a target; None: connect to it directly.

        Raises:
            GitUnsupported: The variable holds no proxy's URL.
        """
        if not self.by_scheme:
            return None
        text = self.by_scheme.get(url.scheme) or self.by_scheme.get("all")
        if not text or self._direct(url.raw_host or "", url.port or 0):
            return None
        try:
            proxy = URL(text if "://" in text else f"http://{text}")
        except ValueError:
            proxy = URL()
        if proxy.scheme not in _SCHEMES or not proxy.host:
            raise GitUnsupported("a proxy variable of the environment holds no http, https or socks URL with a host")
        return proxy

    def _direct(self, host: str, port: int) -> bool:
        """Whether NO_PROXY names the host: itself, a domain it is in, its network, `host:port`, or `*` for all."""
        for entry in self.without:
            named = _ENTRY.fullmatch(entry)
            if named is not None and named["port"] and int(named["port"]) != port:
                continue
            name = (named["host"] if named is not None else entry).strip("[]")
            domain = name.removeprefix("*").removeprefix(".")
            if name == "*" or (domain and (host == domain or host.endswith("." + domain))) or _within(host, name):
                return True
        return False

    def __repr__(self) -> str:
        return f"Proxies(without={shown(','.join(self.without))})"


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
