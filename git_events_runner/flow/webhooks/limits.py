"""Limits of a request: rate, size, time, concurrency, and the memory of all bodies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from starlette.requests import ClientDisconnect, Request

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.rules.proofs import Headers
from git_events_runner.rules.rate_limit import Bucket, Rate
from git_events_runner.rules.senders import Network, forwarded_sender, sender

from .responses import HttpError

# A larger body is hashed and parsed in a thread: one of the largest costs 10 ms for each key that is tried.
ON_LOOP_BYTES = 256 * 1024
_BUCKETS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of bodies: size, time, least rate (bytes per second), the memory of all; and how many requests wait.

    One that stalled for `stalled_s` gives way to another when the memory is used up, and ends after `quiet_s`.
    """

    body_bytes: int = 3 * 2**20
    json_bytes: int = 25 * 2**20
    body_s: float = 30.0
    quiet_s: float = 10.0
    least_rate: int = 1024
    stalled_s: float = 1.0
    all_bodies_bytes: int = 64 * 2**20
    waiting: int = 2000

    def most(self, media_type: bytes) -> int:
        """The largest body of a content type: JSON, which forges send, is read without its parsed value in memory."""
        json = media_type.partition(b";")[0].strip().lower() == b"application/json"
        return max(self.json_bytes, self.body_bytes) if json else self.body_bytes


class Buckets:
    """Rate limits by scope (`global`, `address`, `trigger`, `source`); the least recently used bucket is dropped.

    Unauthenticated requests have their own buckets, of the same rates: they never take from the others.
    """

    def __init__(self, rates: Mapping[str, Rate | None]) -> None:
        self._rates = {scope: rate for scope, rate in rates.items() if rate is not None}
        self._buckets: BoundedDict[tuple[str, ...], Bucket] = BoundedDict(_BUCKETS)
        self._failures: BoundedDict[tuple[str, ...], Bucket] = BoundedDict(_BUCKETS)

    def check(self, scope: str, *key: str) -> None:
        """Let a request pass before its authentication, and take no token.

        Raises:
            HttpError: 429, none is left: an authenticated request would be refused, too.
        """
        self._check(self._buckets, scope, *key)

    def spend(self, scope: str, *key: str) -> None:
        """Take one token.

        Raises:
            HttpError: 429, none is left.
        """
        rate = self._rates.get(scope)
        if rate is not None:
            wait_s = self.try_spend(rate, scope, *key)
            if wait_s > 0:
                raise _too_many(scope, wait_s)

    def check_sender(self, sender: str) -> None:
        """Let a sender pass whose requests and whose failures are within its rate.

        Raises:
            HttpError: 429, it is above its rate, or all requests together are above theirs.
        """
        if self._rates:
            self.check("global")
            self.check("address", sender)
            self._check(self._failures, "address", sender)

    def spend_failure(self, sender: str, *trigger: str) -> None:
        """Count an unauthenticated request, for its sender and for the names in its path.

        Raises:
            HttpError: 429, there were too many of them.
        """
        if not self._rates:
            return
        for key in (("address", sender), ("global",), ("trigger", *trigger)):
            rate = self._rates.get(key[0])
            wait_s = _spend(self._failures, rate, key) if rate is not None else 0.0
            if wait_s > 0:
                raise _too_many(key[0], wait_s)

    def try_spend(self, rate: Rate, *key: str) -> float:
        """Take one token if there is one (0), else how long until there is."""
        return _spend(self._buckets, rate, key)

    def _check(self, buckets: Mapping[tuple[str, ...], Bucket], scope: str, *key: str) -> None:
        rate = self._rates.get(scope)
        if rate is None:
            return
        found = buckets.get((scope, *key))
        wait_s = found.spend(rate, time.monotonic())[1] if found is not None else 0.0
        if wait_s > 0:
            raise _too_many(scope, wait_s)


def _spend(buckets: BoundedDict[tuple[str, ...], Bucket], rate: Rate, key: tuple[str, ...]) -> float:
    now = time.monotonic()
    bucket, wait_s = (buckets.pop(key, None) or Bucket(tokens=float(rate.burst), at=now)).spend(rate, now)
    buckets[key] = bucket
    return wait_s


def _too_many(scope: str, wait_s: float) -> HttpError:
    return HttpError(429, f"too many requests ({scope} limit)", retry_after_s=wait_s)


class Body:
    """One body, which uses the budget while entered: its sender, and how to end its reading."""

    __slots__ = ("_bodies", "began_at", "held", "moved_at", "sender", "timeout")

    def __init__(self, sender: str, bodies: Bodies) -> None:
        self._bodies = bodies
        self.sender = sender
        self.held = 0
        self.began_at = self.moved_at = 0.0
        self.timeout: asyncio.Timeout | None = None

    def __enter__(self) -> Self:
        """Nothing is received yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """The response is sent."""
        self._bodies.release(self)

    async def read(self, request: Request, headers: Headers) -> bytes:
        """The raw body.

        Raises:
            HttpError: It is too large, too slow, compressed, or there are too many of them.
            ClientDisconnect: The sender closed the connection.
        """
        return await self._bodies.read(request, headers, self)

    def give_way(self) -> int:
        """End its reading with a time-out; the bytes that this frees."""
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(0.0)
        self.timeout = None
        freed, self.held = self.held, 0
        return freed


class Bodies:
    """Reads bodies; all share a budget until their responses are sent.

    Within the budget the senders with most bytes give way first, and stalled bodies before all others:
    slow and large bodies of one sender leave space for those of others.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._held = 0
        self._open: dict[Body, None] = {}

    def open(self, sender: str) -> Body:
        """A body that will be read, to be entered."""
        return Body(sender, self)

    def release(self, body: Body) -> None:
        """Release its part of the budget."""
        self._open.pop(body, None)
        self._held -= body.held
        body.held = 0

    async def read(self, request: Request, headers: Headers, body: Body) -> bytes:
        """Read one; see `Body.read`."""
        bounds = self._bounds
        most = self._announced(headers)
        loop = asyncio.get_running_loop()
        body.began_at = loop.time()
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(min(bounds.body_s, bounds.quiet_s)) as body.timeout:
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    chunk = message.get("body", b"")
                    if chunk:
                        self._hold(body, len(chunk), most)
                        parts.append(chunk)
                    if not message.get("more_body", False):
                        break
                    body.moved_at = loop.time()
                    body.timeout.reschedule(self._deadline(body))
        except TimeoutError:
            text = f"the body did not arrive within {bounds.body_s:g} s, or too slowly"
            raise HttpError(408, text, close=True) from None
        finally:
            body.timeout = None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _announced(self, headers: Headers) -> int:
        """How large a body may be, by its headers."""
        encodings = headers.get("content-encoding", ())
        if any(encoding.strip().lower() not in {b"", b"identity"} for encoding in encodings):
            raise HttpError(415, "send the body without Content-Encoding", close=True)
        most = self._bounds.most(_one(headers, "content-type"))
        length = _one(headers, "content-length")
        if length.isdigit() and (len(length) > 8 or int(length) > most):  # noqa: PLR2004  eight digits are enough
            raise _too_large(most)
        return most

    def _hold(self, body: Body, received: int, most: int) -> None:
        if body.timeout is None:
            raise TimeoutError  # it gave way in this iteration of the loop
        self._open[body] = None
        body.held += received
        self._held += received
        if body.held > most:
            raise _too_large(most)
        if self._held > self._bounds.all_bodies_bytes:
            self._make_room(body)

    def _deadline(self, body: Body) -> float:
        """The deadline of the next bytes: by the total time, the least rate, and the longest silence."""
        bounds = self._bounds
        return min(
            body.began_at + bounds.body_s,
            body.began_at + bounds.quiet_s + body.held / bounds.least_rate,
            body.moved_at + bounds.quiet_s,
        )

    def _make_room(self, mine: Body) -> None:
        """Let others give way to a body, if they stalled or their sender has more bytes than its own.

        Raises:
            HttpError: 503, none has to.
        """
        most, now = self._bounds.all_bodies_bytes, asyncio.get_running_loop().time()
        reading = sorted((one for one in self._open if one.timeout and one is not mine), key=lambda one: one.moved_at)
        holders: dict[str, int] = {}
        for body in self._open:
            holders[body.sender] = holders.get(body.sender, 0) + body.held
        stalled = [body for body in reading if now - body.moved_at > self._bounds.stalled_s]
        for body in (*stalled, *reading):
            if self._held <= most:
                return
            fair = max(holders[mine.sender], self._bounds.body_bytes)
            if body.held and (body in stalled or holders[body.sender] > fair):
                holders[body.sender] -= body.held
                self._held -= body.give_way()
        if self._held > most:
            raise HttpError(503, "not able to take requests now", retry_after_s=2, close=True)


def _one(headers: Headers, name: str) -> bytes:
    return next(iter(headers.get(name, ())), b"")


def _too_large(most: int) -> HttpError:
    return HttpError(413, f"the body is larger than {most} bytes", close=True)


def sender_of(request: Request, trusted: Sequence[Network]) -> str:
    """The sender of a request: its peer, or behind trusted proxies the client that they report."""
    host = request.client.host if request.client else ""
    if not trusted:
        return sender(host) or ""
    return forwarded_sender(host, ",".join(request.headers.getlist("x-forwarded-for")).split(","), trusted)
