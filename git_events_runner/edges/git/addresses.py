"""Which addresses may be connected to, judged after name resolution.

Whoever may write a source chooses where this program connects to. Link-local addresses and the metadata services of
clouds, which give credentials to whoever asks, are never among them; more networks can be refused by setting.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable

from git_events_runner.errors import GitAddressRefused, GitUnreachable

from .question import Repository, shown

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


class Addresses:
    """The judge: `further` are networks (CIDR) refused beside those that always are."""

    def __init__(self, further: Iterable[str] = ()) -> None:
        self._refused: list[_Network] = [ipaddress.ip_network(text, strict=False) for text in (*_NEVER, *further)]

    def allows(self, text: str) -> bool:
        """Whether an address, as the resolver gives it, may be connected to.

        >>> Addresses().allows("::ffff:169.254.169.254")
        False
        """
        address = ipaddress.ip_address(text.partition("%")[0])
        return not any(form in network for form in _forms(address) for network in self._refused)

    def check(self, host: str) -> None:
        """Judge a host that is an address already; names pass, they are judged when they have been resolved.

        Raises:
            GitAddressRefused: It is one of the refused.
        """
        try:
            allowed = self.allows(host.strip("[]"))
        except ValueError:
            return
        if not allowed:
            raise refused(host)


def refused(host: str) -> GitAddressRefused:
    """The error for a host whose address is not allowed."""
    return GitAddressRefused(
        f"{shown(host)} is where no source may lead: link-local, a metadata service, or in git.refusedNetworks"
    )


def unreachable(repository: Repository, host: str, port: int | None, error: OSError) -> GitUnreachable:
    """The error for a host that cannot be connected to, in the system's words for the error number."""
    if isinstance(error, socket.gaierror):
        return GitUnreachable(f"{repository}: the host name does not resolve")
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    why = os.strerror(error.errno).lower() if error.errno is not None and error.errno > 0 else "it cannot be reached"
    return GitUnreachable(f"{repository}: no connection to {shown(place)}: {why}")


def _forms(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = address.ipv4_mapped or address.sixtofour
    if any(address in network for network in _TRANSLATED):
        inner = ipaddress.IPv4Address(int(address) & _V4_MASK)
    return [address, inner] if inner else [address]
