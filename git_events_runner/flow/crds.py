"""Checks the CRDs: with old ones the API server would drop our ledger fields, and run numbers would repeat.

While a needed field is missing, the program is not ready and does no check; it reports the command to run.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from git_events_runner.edges.ports import KubeReader
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.crds import crds
from git_events_runner.resources.kinds import GROUP, KINDS, OURS, VERSION
from git_events_runner.resources.ref import Ref

log = structlog.get_logger(target="crds")

COMMAND = "git-events-runner crds | kubectl apply --server-side --force-conflicts -f -"
_GOOD_S = 30.0
_BAD_S = 3.0


def missing_fields(kind: str, crd: Mapping[str, Any]) -> list[str]:
    """Dotted paths of fields that this version writes into a status and a CRD of the API server does not have.

    The needed fields are those of our own CRD, so that new fields of a new version are included.
    """
    version = _version_of(crd)
    missing = [] if "status" in (version.get("subresources") or {}) else ["subresources.status"]
    return missing + list(_lacking(_needed(kind), _status_of(version), "status"))


@functools.cache
def _needed(kind: str) -> Mapping[str, Any]:
    """The schema of a kind's status as this version has it."""
    return _status_of(_version_of(next(crd for crd in crds() if crd["spec"]["names"]["kind"] == kind)))


def _version_of(crd: Mapping[str, Any]) -> Mapping[str, Any]:
    versions = (crd.get("spec") or {}).get("versions") or ()
    return next((v for v in versions if v.get("name") == VERSION), {})


def _status_of(version: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return (schema.get("properties") or {}).get("status") or {}


def _lacking(needed: Mapping[str, Any], found: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths of properties of one schema that another one lacks; without the children of a missing property."""
    for name, schema in (needed.get("properties") or {}).items():
        known = (found.get("properties") or {}).get(name)
        if known is None:
            yield f"{path}.{name}"
        else:
            yield from _lacking(schema, known, f"{path}.{name}")
    for inner in ("additionalProperties", "items"):
        if isinstance(needed.get(inner), Mapping):
            known = found.get(inner)
            yield from _lacking(needed[inner], known if isinstance(known, Mapping) else {}, f"{path}.*")


class Crds:
    """Checks the eight CRDs at start and every half minute."""

    def __init__(self, *, reader: KubeReader, checked: Callable[[str | None], None]) -> None:
        self._reader = reader
        self._checked = checked
        self._good = asyncio.Event()
        self._reported: str | None = None
        self.moved_at: float = 0.0

    async def wait_good(self) -> None:
        """Return when every needed field exists."""
        await self._good.wait()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            self.moved_at = asyncio.get_running_loop().time()
            try:
                problem = await self._problem()
            except ApiError as error:
                problem = self._unanswered(error)
            else:
                if problem and problem != self._reported:
                    log.error("crds.outdated", error=problem)
                elif problem is None and self._reported:
                    log.info("crds.current")
                self._reported = problem
            self._checked(problem)
            if problem is None:
                self._good.set()
            await asyncio.sleep(_GOOD_S if problem is None else _BAD_S)

    def _unanswered(self, error: ApiError) -> str | None:
        """The API server did not respond: the last result holds; before the first one the CRDs are unknown."""
        if self._reported is not None or self._good.is_set():
            return self._reported
        log.warning("crds.unread", error=str(error))
        return f"the CRDs cannot be read yet: {error}"

    async def _problem(self) -> str | None:
        """The problem of the CRDs and its fix; None if there is none.

        Raises:
            ApiError: One of them cannot be read now.
        """
        found: list[str] = []
        for kind in OURS:
            name = f"{KINDS[kind].plural}.{GROUP}"
            try:
                crd = await self._reader.get(Ref("CustomResourceDefinition", None, name))
            except ApiNotFound:
                found.append(f"{name} is not installed")
            except ApiError as error:
                if error.retryable:
                    raise
                found.append(str(error))
            else:
                missing = missing_fields(kind, crd)
                if missing:
                    found.append(f"{name} lacks {', '.join(missing)}")
        return f"{'; '.join(found)}; run: {COMMAND}" if found else None
