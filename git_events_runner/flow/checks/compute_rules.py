"""Reads which resources a namespace requires of pods, once for all Jobs that are created within some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.errors import ApiForbidden, ApiNotFound
from git_events_runner.resources.kinds import LIMIT_RANGE, RESOURCE_QUOTA, Kind
from git_events_runner.rules.jobs.compute_quota import NO_RULES, ComputeRules

log = structlog.get_logger(target="runs")

_KEPT = 1000
_KEPT_S = 10.0
_FORBIDDEN_S = 300.0


class Lister(Protocol):
    """Lists objects live."""

    def list(self, kind: Kind, *, namespace: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind in a namespace."""


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: float = float("-inf")
    rules: ComputeRules = NO_RULES


class NamespaceComputeRules:
    """The ResourceQuotas and LimitRanges of namespaces; none where they may not be read."""

    def __init__(self, *, api: Lister) -> None:
        self._api = api
        self._known: BoundedDict[str, _Known] = BoundedDict(_KEPT)

    async def read(self, namespace: str) -> ComputeRules:
        """Those of a namespace, at most ten seconds old.

        Raises:
            ApiError: The API server does not respond.
        """
        known = self._known.get(namespace)
        if known is None:
            known = self._known[namespace] = _Known()
        async with known.lock:
            if asyncio.get_running_loop().time() >= known.until:
                await self._read(namespace, known)
        return known.rules

    async def _read(self, namespace: str, known: _Known) -> None:
        kept_s = _KEPT_S
        try:
            quotas, ranges = await asyncio.gather(
                self._listed(RESOURCE_QUOTA, namespace), self._listed(LIMIT_RANGE, namespace)
            )
            known.rules = ComputeRules.of(quotas, ranges)
        except (ApiForbidden, ApiNotFound) as error:  # roles of an earlier version; `local` has no such kinds
            log.debug("quotas.unread", namespace=namespace, error=str(error))
            known.rules, kept_s = NO_RULES, _FORBIDDEN_S
        known.until = asyncio.get_running_loop().time() + kept_s

    async def _listed(self, kind: Kind, namespace: str) -> list[dict[str, Any]]:
        return [raw async for raw in self._api.list(kind, namespace=namespace)]
