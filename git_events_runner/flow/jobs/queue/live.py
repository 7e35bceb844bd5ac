"""Lists every Job of the installation live, before a new leader admits the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from git_events_runner.errors import ApiForbidden
from git_events_runner.resources.job import TRIGGER_KIND_LABEL
from git_events_runner.resources.kinds import KINDS, TRIGGERS

from .ports import Api

JOB_SELECTOR = TRIGGER_KIND_LABEL
_PASSED_S = 5.0


class Scopes(Protocol):
    """The known state of the namespaces."""

    def passed_over(self, namespace: str, kind: str) -> bool:
        """Whether the kind has been refused in the namespace for long, or the namespace does not exist."""


def live_jobs(api: Api, namespaces: tuple[str, ...], *, scopes: Scopes) -> Callable[[], AsyncIterator[dict[str, Any]]]:
    """Lists the installation's Jobs live, then its triggers, in every namespace or in those given.

    The triggers' statuses show which of the Jobs are runs. A namespace that does not exist has none: its roles are
    deleted with it, so that the request is refused. One that exists and refuses is skipped: as its informer knows
    it, or after a few seconds, because an API server that starts may refuse for a moment. Its known objects stay in
    the store.
    """
    return _LiveJobs(api, namespaces, scopes).jobs


class _LiveJobs:
    def __init__(self, api: Api, namespaces: tuple[str, ...], scopes: Scopes) -> None:
        self._api = api
        self._namespaces = namespaces or (None,)
        self._scopes = scopes
        self._refused_at: dict[tuple[str, str], float] = {}  # since when

    async def jobs(self) -> AsyncIterator[dict[str, Any]]:
        refused: ApiForbidden | None = None
        for kind in ("Job", *TRIGGERS):
            for namespace in self._namespaces:
                try:
                    async for raw in self._listed(kind, namespace):
                        yield raw
                except ApiForbidden as error:  # the others are tried too: the seconds of all run concurrently
                    refused = error
        if refused is not None:
            raise refused
        self._refused_at.clear()  # the next leadership waits these seconds again

    async def _listed(self, kind: str, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        selector = JOB_SELECTOR if kind == "Job" else None
        try:
            async for raw in self._api.list(KINDS[kind], namespace=namespace, label_selector=selector):
                yield raw
        except ApiForbidden:
            if namespace is None or not self._passed_over(namespace, kind):
                raise
        else:
            self._refused_at.pop((namespace or "", kind), None)

    def _passed_over(self, namespace: str, kind: str) -> bool:
        now = asyncio.get_running_loop().time()
        lasted_s = now - self._refused_at.setdefault((namespace, kind), now)
        return lasted_s >= _PASSED_S or self._scopes.passed_over(namespace, kind)
