"""Which addresses a source may connect to (SSRF), validated after name resolution.

The author of a source chooses where this program connects to. Link-local addresses and the metadata services of
clouds, which give credentials to every caller, are always refused; `run` refuses loopback, its own addresses and the
networks of the runtime config too. Every refusal has one text, so it reveals nothing about what is at an address.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable

from git_events_runner.errors import GitAddressRefused, GitUnreachable

from .request import Repository, shown

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Link-local (the metadata service of most clouds), "this host", multicast; metadata of AWS and Google over IPv6, of
# Alibaba and Oracle; Azure's WireServer, which gives a node's extensions their secrets.
_NEVER = (
    "169.254.0.0/16",
    "fe80::/10",
    "0.0.0.0/8",
    "::/128",
    "224.0.0.0/4",
    "ff00::/8",
    "255.255.255.255/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "168.63.129.16/32",
)
# Networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052), its prefixes of one's own (RFC 8215), RFC 2765.
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
_V4_MASK = 0xFFFF_FFFF
LOOPBACK = ("127.0.0.0/8", "::1/128")
# What inet_aton(3) accepts, and so a proxy or a resolver: `2130706433`, `0x7f.1`, `127.1`.
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}")
_REFUSAL = (
    "the address is one that no source may point to: loopback, link-local, a metadata service, this controller itself, "
    "or in a network that the runtime config refuses (git.allowedNetworks lets single networks through)"
)


class Addresses:
    """Validates addresses: `refused` networks (CIDR) add to those always refused, except those in `allowed`."""

    def __init__(self, refused: Iterable[str] = (), *, allowed: Iterable[str] = ()) -> None:
        self._never = _networks(_NEVER)
        self._refused = _networks(refused)
        self._allowed = _networks(allowed)

    def allows(self, text: str) -> bool:
        """Whether an address, as the resolver gives it, may be connected to.

        >>> Addresses().allows("::ffff:169.254.169.254")
        False
        >>> Addresses(["10.0.0.0/8"], allowed=["10.0.0.7/32"]).allows("10.0.0.7")
        True
        """
        return not any(self._refuses(form) for form in _forms(ipaddress.ip_address(text.partition("%")[0])))

    def check(self, host: str) -> None:
        """Validate a host that is an address already, or is named `localhost`; other names are validated once resolved.

        Raises:
            GitAddressRefused: It is one of the refused.
        """
        address = _address_in(host)
        if address is not None and not self.allows(address):
            raise refused()

    def _refuses(self, address: _Address) -> bool:
        if any(address in network for network in self._never):
            return True
        return any(address in network for network in self._refused) and not any(
            address in network for network in self._allowed
        )


def refused() -> GitAddressRefused:
    """The error for a host whose address is not allowed: the same text for every host, port, name and reason."""
    return GitAddressRefused(_REFUSAL)


def unreachable(repository: Repository, host: str, port: int | None, error: OSError) -> GitUnreachable:
    """The error for a host that cannot be connected to, with the system's text for the error number."""
    if isinstance(error, socket.gaierror):
        return GitUnreachable(f"{repository}: the host name does not resolve")
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    why = os.strerror(error.errno).lower() if error.errno is not None and error.errno > 0 else "it cannot be reached"
    return GitUnreachable(f"{repository}: no connection to {shown(place)}: {why}")


def _networks(texts: Iterable[str]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _address_in(host: str) -> str | None:
    """The address that a host is, in any notation; None: a name.

    >>> [_address_in(host) for host in ("[::1]", "2130706433", "0x7f.1", "a.Localhost.", "git.example")]
    ['::1', '127.0.0.1', '127.0.0.1', '127.0.0.1', None]
    """
    text = host.strip("[]").rstrip(".")
    if text.lower() == "localhost" or text.lower().endswith(".localhost"):  # RFC 6761, section 6.3
        return "127.0.0.1"
    try:
        if _NUMERIC.fullmatch(text):
            return socket.inet_ntoa(socket.inet_aton(text))
        ipaddress.ip_address(text.partition("%")[0])
    except (ValueError, OSError):
        return None
    return text


def _forms(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that it contains."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = address.ipv4_mapped or address.sixtofour
    if any(address in network for network in _TRANSLATED):
        inner = ipaddress.IPv4Address(int(address) & _V4_MASK)
    return [address, inner] if inner else [address]
