"""Secrets of git servers and webhooks, read when needed; what is asked for is remembered for a limited time.

A Secret is up to a mebibyte of a tenant's bytes, and senders without a proof cause reads. So only the keys that were
asked for are decoded and kept, values have a limit, all that is kept shares a budget, and few reads are under way:
of one namespace fewer than of all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

from git_events_runner.errors import ApiError, ApiForbidden, ApiNotFound, SecretUnusable
from git_events_runner.resources.bounds import SECRET_VALUE_BYTES, SECRETS_KEPT_BYTES
from git_events_runner.resources.ref import Ref

_FAILED_S = 2.0
_ENTRY_BYTES = 1024  # what one takes beside its values
_READS, _READS_OF_NAMESPACE = 8, 2
_KEYS = 16  # a Secret has a handful of them that anybody asks for


class Reader(Protocol):
    """Reads an object live."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now."""


class _Data(dict[str, bytes]):
    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read: values of the keys asked for that are there, or why there are none."""

    keys: frozenset[str]
    found: _Data | SecretUnusable
    until: float

    @property
    def weight(self) -> int:
        values = sum(map(len, self.found.values())) if isinstance(self.found, dict) else 0
        return _ENTRY_BYTES + values + sum(map(len, self.keys))


class Secrets:
    """A cache with one read under way for each Secret; failures are remembered for two seconds."""

    def __init__(
        self,
        *,
        reader: Reader,
        cache_s: float,
        clock: Callable[[], float],
        kept_bytes: int = SECRETS_KEPT_BYTES,
    ) -> None:
        self._reader = reader
        self._cache_s = cache_s
        self._clock = clock
        self._kept_bytes = kept_bytes
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()  # in the order in which they were read
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._reads = asyncio.Semaphore(_READS)
        self._reads_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self.held_bytes = 0

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)} known)"

    def forget(self, namespace: str, name: str) -> None:
        """Read it again the next time."""
        known = self._known.pop((namespace, name), None)
        if known is not None:
            self.held_bytes -= known.weight

    async def get(self, namespace: str, name: str, *keys: str) -> Mapping[str, bytes]:
        """Those of the keys that a Secret has, decoded.

        Raises:
            SecretUnusable: It is missing, or may not be read, or one of the values is no base64 or too large; the
                message says which and what to do.
            ApiError: The API server does not answer.
        """
        place = (namespace, name)
        found = self._fresh(place, keys)
        if found is None:
            lock = self._locks.setdefault(place, asyncio.Lock())
            async with lock:
                found = self._fresh(place, keys)
                if found is None:
                    found = await self._in_turn(place, keys)
        if isinstance(found, SecretUnusable):
            raise found.with_traceback(None)
        return found

    def _fresh(self, place: tuple[str, str], keys: tuple[str, ...]) -> _Data | SecretUnusable | None:
        known = self._known.get(place)
        if known is None or self._clock() >= known.until or not known.keys.issuperset(keys):
            return None
        return known.found

    async def _in_turn(self, place: tuple[str, str], keys: tuple[str, ...]) -> _Data | SecretUnusable:
        own = self._reads_of.setdefault(place[0], asyncio.Semaphore(_READS_OF_NAMESPACE))
        async with own, self._reads:
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
        except ApiError:
            raise
        lasts_s = self._cache_s if not isinstance(found, SecretUnusable) else min(_FAILED_S, self._cache_s)
        self._keep(place, _Known(keys=wanted, found=found, until=self._clock() + lasts_s))
        return found

    def _keep(self, place: tuple[str, str], known: _Known) -> None:
        """Keep what was read, in place of what was read longest ago and of all that is too old."""
        self.forget(*place)
        if known.until > self._clock():
            self._known[place] = known
            self.held_bytes += known.weight
        while self._known:
            oldest, kept = next(iter(self._known.items()))
            if self.held_bytes <= self._kept_bytes and kept.until > self._clock():
                return
            self.forget(*oldest)


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
