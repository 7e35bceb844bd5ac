"""Secrets of git servers and webhooks, read when needed; requested keys are remembered for a limited time.

A Secret is up to a mebibyte of a tenant's bytes, and senders that are not authenticated cause reads. So only the keys
that were requested are decoded and kept, values have a limit, all that is kept shares a budget, of which the namespace
that has most gives way, and few reads are under way: of one namespace fewer than of all.

While the API server gives no answer, a value that was read before is used for five minutes more, after a wait of two
seconds at most. Callers that wait for one Secret share one failed read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from git_events_runner.edges.ports import KubeReader
from git_events_runner.errors import ApiError, ApiForbidden, ApiNotFound, ApiUnavailable, SecretUnusable
from git_events_runner.resources.bounds import SECRET_VALUE_BYTES, SECRETS_KEPT_BYTES
from git_events_runner.resources.ref import Ref

_FAILED_S = 2.0
_STALE_S = 300.0  # a credential that was revoked meanwhile counts no longer than this and the cache's time
_STALE_WAIT_S = 2.0
_RETRY_S = 5.0
_TURN_S = 5.0
_ENTRY_BYTES = 1024  # what one takes in addition to its values
_READS, _READS_OF_NAMESPACE = 8, 2
_KEYS = 16  # a Secret has a handful of them that are requested


class _Data(dict[str, bytes]):
    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read: values of the requested keys that exist, or why there are none.

    `until` it is as good as live, `stale_until` better than nothing; before `retry_at` no other read is tried.
    """

    keys: frozenset[str]
    found: _Data | SecretUnusable
    until: float
    stale_until: float
    retry_at: float = 0.0

    @property
    def weight(self) -> int:
        values = sum(map(len, self.found.values())) if isinstance(self.found, dict) else 0
        return _ENTRY_BYTES + values + sum(map(len, self.keys))


class _Flight:
    """One read of a Secret at a time; how many have failed, and how the last one did."""

    __slots__ = ("__weakref__", "error", "failures", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.failures = 0
        self.error: ApiError | None = None


class Secrets:
    """A cache with one read under way for each Secret; failures are remembered for two seconds."""

    def __init__(
        self,
        *,
        reader: KubeReader,
        cache_s: float,
        clock: Callable[[], float],
        kept_bytes: int = SECRETS_KEPT_BYTES,
        objects: Callable[[], int] = lambda: 0,
    ) -> None:
        """The budget is `kept_bytes`, and a small Secret for each of the `objects` that may name one."""
        self._reader = reader
        self._cache_s = cache_s
        self._clock = clock
        self._kept_bytes = kept_bytes
        self._objects = objects
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()  # in the order in which they were read
        self._flights: WeakValueDictionary[tuple[str, str], _Flight] = WeakValueDictionary()
        self._reads = asyncio.Semaphore(_READS)
        self._reads_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._unanswered_at = -1.0
        self._held: Counter[str] = Counter()
        self.held_bytes = 0

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)} known)"

    def forget(self, namespace: str, name: str) -> None:
        """Read it again the next time."""
        known = self._known.pop((namespace, name), None)
        if known is not None:
            self._count(namespace, -known.weight)

    async def get(self, namespace: str, name: str, *keys: str, live: bool = False) -> Mapping[str, bytes]:
        """Those of the keys that a Secret has, decoded; `live`: as it is now, independent of earlier reads.

        Raises:
            SecretUnusable: It is missing, or may not be read, or one of the values is no base64 or too large; the
                message has which one and what to do.
            ApiError: The API server does not answer, and did not for too long (for a live value: does not answer).
        """
        place = (namespace, name)
        found = None if live else self._usable(place, keys)
        if found is None:
            flight = self._flights.setdefault(place, _Flight())
            failures = flight.failures
            async with flight.lock:
                found = None if live else self._usable(place, keys)
                if found is None and flight.error is not None and flight.failures != failures:
                    raise flight.error.with_traceback(None)
                if found is None:
                    found = await self._fly(flight, place, keys, live=live)
        if isinstance(found, SecretUnusable):
            raise found.with_traceback(None)
        return found

    def _usable(self, place: tuple[str, str], keys: tuple[str, ...]) -> _Data | SecretUnusable | None:
        """What may be used without a read: it is new enough, or the last read got no answer a moment ago."""
        known = self._known.get(place)
        if known is None or not known.keys.issuperset(keys):
            return None
        now = self._clock()
        return known.found if now < known.until or now < min(known.retry_at, known.stale_until) else None

    async def _fly(
        self, flight: _Flight, place: tuple[str, str], keys: tuple[str, ...], *, live: bool
    ) -> _Data | SecretUnusable:
        """Read it; without an answer of the API server what is known is used, if there is something."""
        known = None if live else self._known.get(place)
        stale = known is not None and known.keys.issuperset(keys) and self._clock() < known.stale_until
        try:
            async with asyncio.timeout(_STALE_WAIT_S if stale else None):
                return await self._in_turn(place, keys)
        except (ApiError, TimeoutError) as error:
            failed = error if isinstance(error, ApiError) else ApiUnavailable(f"reading Secret {place[0]}/{place[1]}")
            flight.failures += 1
            flight.error = failed
            self._unanswered_at = self._clock()
            known = self._known.get(place)
            if known is None or not stale:
                raise failed from None
            self._known[place] = replace(known, retry_at=self._clock() + _RETRY_S)
            return known.found

    async def _in_turn(self, place: tuple[str, str], keys: tuple[str, ...]) -> _Data | SecretUnusable:
        own = self._reads_of.setdefault(place[0], asyncio.Semaphore(_READS_OF_NAMESPACE))
        began_at = self._clock()
        async with own, self._reads:
            if began_at + _TURN_S <= self._clock() and began_at <= self._unanswered_at:
                # Those before it waited for nothing: all that wait for their turn must not do so one after another.
                raise ApiUnavailable(f"reading Secret {place[0]}/{place[1]}: reads before it got no answer")
            return await self._read(place, keys)

    async def _read(self, place: tuple[str, str], keys: tuple[str, ...]) -> _Data | SecretUnusable:
        namespace, name = place
        known = self._known.get(place)
        wanted = frozenset(keys) | (known.keys if known is not None else frozenset())
        if len(wanted) > _KEYS:
            wanted = frozenset(keys)
        found: _Data | SecretUnusable
        try:
            secret = await self._reader.get(Ref("Secret", namespace, name))
            found = _decoded(namespace, name, secret.get("data") or {}, wanted)
        except ApiNotFound:
            found = SecretUnusable(f"Secret {namespace}/{name} does not exist; create it, or name another one")
        except ApiForbidden:
            found = SecretUnusable(
                f"Secret {namespace}/{name} may not be read by the controller; bind its role in that namespace",
                reason="SecretForbidden",
            )
        except SecretUnusable as unusable:
            found = unusable
        good = not isinstance(found, SecretUnusable)
        until = self._clock() + (self._cache_s if good else min(_FAILED_S, self._cache_s))
        stale_until = until + (_STALE_S if good else 0.0)
        self._keep(place, _Known(keys=wanted, found=found, until=until, stale_until=stale_until))
        return found

    def _keep(self, place: tuple[str, str], known: _Known) -> None:
        """Keep what was read, without what is too old; beyond the budget the largest namespace loses its oldest."""
        self.forget(*place)
        if known.until > self._clock():
            self._known[place] = known
            self._count(place[0], known.weight)
        while self._known and next(iter(self._known.values())).stale_until <= self._clock():
            self.forget(*next(iter(self._known)))
        while self.held_bytes > self._kept_bytes + _ENTRY_BYTES * 2 * self._objects():
            largest = max(self._held, key=self._held.__getitem__)
            self.forget(*next(place for place in self._known if place[0] == largest))

    def _count(self, namespace: str, weight: int) -> None:
        self.held_bytes += weight
        self._held[namespace] += weight
        if not self._held[namespace]:
            del self._held[namespace]


def _decoded(namespace: str, name: str, data: Mapping[str, Any], keys: frozenset[str]) -> _Data:
    found = _Data()
    for key in sorted(keys.intersection(data)):
        text = data[key]
        if isinstance(text, str) and len(text) * 3 // 4 > SECRET_VALUE_BYTES:
            raise SecretUnusable(
                f"Secret {namespace}/{name}: the key {key} has more than {SECRET_VALUE_BYTES} bytes; shorten it",
                reason="SecretInvalid",
            )
        try:
            found[key] = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise SecretUnusable(
                f"Secret {namespace}/{name} holds data that is not base64, under the key {key}", reason="SecretInvalid"
            ) from None
    return found
