"""Secrets of git servers and webhooks, read when needed and remembered for a limited time."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from git_events_runner.errors import ApiError, ApiForbidden, ApiNotFound, SecretUnusable
from git_events_runner.resources.ref import Ref

_FAILED_S = 2.0
_KEPT = 10_000


class Reader(Protocol):
    """Reads an object live."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now."""


class _Data(dict[str, bytes]):
    def __repr__(self) -> str:
        return "***"


class Secrets:
    """A cache with one read under way for each Secret; failures are remembered for two seconds."""

    def __init__(self, *, reader: Reader, cache_s: float, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._cache_s = cache_s
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, _Data | SecretUnusable]] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)} known)"

    def forget(self, namespace: str, name: str) -> None:
        """Read it anew the next time."""
        self._known.pop((namespace, name), None)

    async def get(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The decoded data of a Secret.

        Raises:
            SecretUnusable: It is missing, or may not be read; the message says which and what to do.
            ApiError: The API server does not answer.
        """
        key = (namespace, name)
        found = self._fresh(key)
        if found is None:
            async with self._locks.setdefault(key, asyncio.Lock()):
                found = self._fresh(key)
                if found is None:
                    found = await self._read(key)
            self._locks.pop(key, None)
        if isinstance(found, SecretUnusable):
            raise found.with_traceback(None)
        return found

    def _fresh(self, key: tuple[str, str]) -> _Data | SecretUnusable | None:
        until, found = self._known.get(key, (0.0, None))
        return found if found is not None and self._clock() < until else None

    async def _read(self, key: tuple[str, str]) -> _Data | SecretUnusable:
        namespace, name = key
        found: _Data | SecretUnusable
        try:
            secret = await self._reader.get(Ref("Secret", namespace, name))
            found = _Data({k: base64.b64decode(v, validate=True) for k, v in (secret.get("data") or {}).items()})
        except ApiNotFound:
            found = SecretUnusable(f"Secret {namespace}/{name} does not exist; create it, or name another one")
        except ApiForbidden:
            found = SecretUnusable(
                f"Secret {namespace}/{name} may not be read by the controller; bind its role in that namespace",
                reason="SecretForbidden",
            )
        except (binascii.Error, TypeError):
            found = SecretUnusable(f"Secret {namespace}/{name} holds data that is not base64", reason="SecretInvalid")
        except ApiError:
            raise
        if len(self._known) >= _KEPT:
            self._known.clear()
        lasts_s = self._cache_s if not isinstance(found, SecretUnusable) else min(_FAILED_S, self._cache_s)
        self._known[key] = (self._clock() + lasts_s, found)
        return found
