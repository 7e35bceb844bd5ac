"""The sender of a request or a connection, for limits: an IPv4 address, or the first 64 bits of an IPv6 address."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence
from itertools import islice

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_PREFIX = 64
_HOPS = 64  # no installation has more proxies; a sender may write thousands into a header


@functools.lru_cache(maxsize=4096)
def sender(host: str, many: tuple[Network, ...] = ()) -> str | None:
    """The sender of a connection from `host`; None for an address in `many`, which many senders share.

    >>> sender("2001:db8::1:2:3:4")
    '2001:db8::'
    >>> sender("::ffff:192.0.2.1")
    '192.0.2.1'
    """
    found = _address(host)
    if found is not None and _among(found, many):
        return None
    return _name(found)


def forwarded_sender(host: str, hops: Iterable[str], trusted: Sequence[Network]) -> str:
    """The sender of a request: the peer, or behind trusted proxies the last of `hops` that is none of them.

    `hops` are the addresses of `X-Forwarded-For`, in its order.
    """
    found = _address(host)
    if found is not None and _among(found, trusted):
        for hop in islice(reversed(tuple(hops)), _HOPS):
            address = _address(hop.strip())
            if address is None:
                break
            found = address
            if not _among(address, trusted):
                break
    return _name(found)


def _name(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False).network_address)
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _among(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
