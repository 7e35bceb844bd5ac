"""Every Job of the installation, live: what a new leader knows before it admits the first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from git_events_runner.errors import ApiForbidden
from git_events_runner.resources.job import TRIGGER_KIND_LABEL
from git_events_runner.resources.kinds import KINDS, TRIGGERS

from .ports import Api

JOB_SELECTOR = TRIGGER_KIND_LABEL


def live_jobs(
    api: Api, namespaces: tuple[str, ...], *, absent: Callable[[str], bool]
) -> Callable[[], AsyncIterator[dict[str, Any]]]:
    """Lists the installation's Jobs live, then its triggers, in every namespace or in those given.

    The triggers' statuses say which of the Jobs are runs. A namespace that does not exist has none: its roles are
    deleted with it, so that the request is refused.
    """

    async def everywhere(kind: str, selector: str | None) -> AsyncIterator[dict[str, Any]]:
        for namespace in namespaces or (None,):
            try:
                async for raw in api.list(KINDS[kind], namespace=namespace, label_selector=selector):
                    yield raw
            except ApiForbidden:
                if namespace is None or not absent(namespace):
                    raise

    async def jobs() -> AsyncIterator[dict[str, Any]]:
        for kind in ("Job", *TRIGGERS):
            async for raw in everywhere(kind, JOB_SELECTOR if kind == "Job" else None):
                yield raw

    return jobs
