"""Bounds of a request: how often, how large, how long, how many at once, and all bodies together."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from git_events_runner.rules.rates import Bucket, Rate

from .answers import Refused

# A larger body is hashed and parsed in a thread: one of the largest costs 10 ms for each key that is tried.
IN_PLACE_BYTES = 256 * 1024
_BUCKETS = 20_000
_IPV6_PREFIX = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of a body: its size, its time, the memory of all that are being read; and how many requests wait at once."""

    body_bytes: int = 3 * 2**20
    body_s: float = 30.0
    all_bodies_bytes: int = 64 * 2**20
    waiting: int = 2000


class Buckets:
    """Rate limits by scope (`global`, `address`, `trigger`, `source`); the least recently used bucket is dropped."""

    def __init__(self, rates: Mapping[str, Rate | None]) -> None:
        self._rates = rates
        self._buckets: OrderedDict[tuple[str, ...], Bucket] = OrderedDict()

    def limits(self, scope: str) -> bool:
        """Whether there is a limit of that scope."""
        return self._rates.get(scope) is not None

    def take(self, scope: str, *key: str) -> None:
        """Take one token.

        Raises:
            Refused: 429, none is left.
        """
        rate = self._rates.get(scope)
        if rate is not None:
            wait_s = self.try_take(rate, scope, *key)
            if wait_s > 0:
                raise Refused(429, f"too many requests ({scope} limit)", retry_after_s=wait_s, close=True)

    def try_take(self, rate: Rate, *key: str) -> float:
        """Take one token if there is one (0), else how long until there is."""
        now = time.monotonic()
        bucket, wait_s = (self._buckets.pop(key, None) or Bucket(tokens=float(rate.burst), at=now)).take(rate, now)
        self._buckets[key] = bucket
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        return wait_s


class Bodies:
    """Reads bodies; all that are being read share a budget, so that many slow senders cost no more memory."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """The raw body.

        Raises:
            Refused: It is too large, too slow, compressed, or there are too many of them.
            ClientDisconnect: The sender went away.
        """
        bounds = self._bounds
        encodings = request.headers.getlist("content-encoding")
        if any(encoding.strip().lower() not in {"", "identity"} for encoding in encodings):
            raise Refused(415, "send the body without Content-Encoding", close=True)
        length = request.headers.get("content-length", "")
        if length.isdigit() and (len(length) > 8 or int(length) > bounds.body_bytes):  # noqa: PLR2004  eight digits are enough
            raise _too_large(bounds)
        mine = 0
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(bounds.body_s):
                async for chunk in request.stream():
                    mine += len(chunk)
                    self._held += len(chunk)
                    if mine > bounds.body_bytes:
                        raise _too_large(bounds)
                    if self._held > bounds.all_bodies_bytes:
                        raise Refused(503, "not able to take requests now", retry_after_s=2, close=True)
                    parts.append(chunk)
        except TimeoutError:
            raise Refused(408, f"the body did not arrive within {bounds.body_s:g} s", close=True) from None
        finally:
            self._held -= mine
        return b"".join(parts)


def _too_large(bounds: Bounds) -> Refused:
    return Refused(413, f"the body is larger than {bounds.body_bytes} bytes", close=True)


def sender_of(request: Request, trusted: Sequence[Network]) -> str:
    """The sender's address: the peer's, or behind trusted proxies what the first of them that is not ours says.

    IPv6 addresses count by their network of 64 bits, which is what one sender has.
    """
    found = _address(request.client.host if request.client else "")
    if found is not None and _among(found, trusted):
        hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        for hop in reversed(hops):
            address = _address(hop.strip())
            if address is None:
                break
            found = address
            if not _among(address, trusted):
                break
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False).network_address)
    return str(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _among(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
