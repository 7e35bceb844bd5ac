"""The last lines of a failed run's worker, for messages: with every value masked that its pod was given, or none.

If a Secret that the pod names cannot be read, its values cannot be masked, so no line is sent.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from git_events_runner.errors import ApiError, ApiForbidden, ApiInvalid, ApiNotFound
from git_events_runner.resources.kinds import POD, Kind
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.report import RunReport
from git_events_runner.rules.notifications.worker_log import (
    LOG_BYTES,
    SECRETS_MAX,
    has_changed,
    is_worker,
    last_lines,
    secrets_of,
    variables_of,
)

_DEADLINE_S = 10.0
_PODS = 10
_LEAST_LINES = 2
_NOT_READ = "its log cannot be read: add the namespace to rbac.controller.workerLogsNamespaces of the chart"
_NO_POD = "its log is deleted with its pod"
_NOT_STARTED = "its worker has not started, so it has no log"
_NOT_MASKED = "its log is not sent: the values of the Secrets that its pod names cannot all be read and masked"
_CHANGED = "its log is not sent: a Secret that its pod names was changed since, and its former values cannot be masked"
_NO_ANSWER = "its log cannot be read: the API server gave no answer"


class PodsPage(Protocol):
    """A page of a list."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects."""


class LogReader(Protocol):
    """Reads pods, their logs, and Secrets."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """An object."""

    async def list_page(self, kind: Kind, *, namespace: str | None, label_selector: str | None, limit: int) -> PodsPage:
        """One page of objects."""

    def log(
        self, namespace: str, pod: str, container: str, *, follow: bool, bounds: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The last lines of a container's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLog:
    """The last lines, or why there are none."""

    lines: tuple[str, ...] = ()
    problem: str | None = None


class WorkerLogs:
    """Reads them from the API server."""

    def __init__(self, reader: LogReader, *, variables_prefix: Callable[[], str]) -> None:
        """`variables_prefix`: how the variables begin that the controller sets; the values of these are no secrets."""
        self._reader = reader
        self._variables_prefix = variables_prefix

    async def read(self, report: RunReport, count: int) -> WorkerLog:
        """The last lines of the run's worker."""
        try:
            async with asyncio.timeout(_DEADLINE_S):
                return await self._read(report, count)
        except TimeoutError:
            return WorkerLog(problem=_NO_ANSWER)

    async def _read(self, report: RunReport, count: int) -> WorkerLog:
        namespace = report.job.namespace or ""
        try:
            page = await self._reader.list_page(
                POD, namespace=namespace, label_selector=f"job-name={report.job.name}", limit=_PODS
            )
            pods = [pod for pod in page.items if _is_of(pod, report.job_uid)]
            if not pods:
                return WorkerLog(problem=_NO_POD)
            pod = max(pods, key=lambda one: str(one["metadata"].get("creationTimestamp")))
            log = await self._tail(namespace, pod, count)
        except ApiError as error:
            return WorkerLog(problem=_why(error))
        names, values = secrets_of(pod["spec"]), variables_of(pod["spec"], self._variables_prefix())
        if len(names) > SECRETS_MAX:
            return WorkerLog(problem=_NOT_MASKED)
        try:
            for name in names:
                secret = await self._reader.get(Ref("Secret", namespace, name))
                if has_changed(secret, pod):
                    return WorkerLog(problem=_CHANGED)
                values += [text for one in (secret.get("data") or {}).values() if (text := _decoded(one))]
        except ApiError:
            return WorkerLog(problem=_NOT_MASKED)
        lines = last_lines(log, count, values)
        return WorkerLog(lines=lines) if lines is not None else WorkerLog(problem=_NOT_MASKED)

    async def _tail(self, namespace: str, pod: Mapping[str, Any], count: int) -> bytes:
        """The end of the worker's log; of fewer lines if they are long, as the API server cuts off the last ones."""
        lines = most = 2 * count
        kept = b""
        while True:
            found = await self._read_lines(namespace, pod, lines)
            is_cut_off = len(found) >= LOG_BYTES
            if lines < most:  # a long line is several ones for the kubelet: the first may begin inside a value
                found = found.partition(b"\n")[2]
            if not is_cut_off:
                return found
            kept = found.rpartition(b"\n")[0] or kept  # the end may be a part of a value, which would not be masked
            if lines <= _LEAST_LINES:
                return kept
            lines = lines // 2 + 1

    async def _read_lines(self, namespace: str, pod: Mapping[str, Any], lines: int) -> bytes:
        name, found = pod["metadata"]["name"], bytearray()
        bounds = {"tailLines": str(lines), "limitBytes": str(LOG_BYTES)}
        containers, prefix = pod["spec"]["containers"], self._variables_prefix()
        container = str(next((one for one in containers if is_worker(one, prefix)), containers[0])["name"])
        async with self._reader.log(namespace, name, container, follow=False, bounds=bounds) as pieces:
            async for piece in pieces:
                found += piece
        return bytes(found)


def _why(error: ApiError) -> str:
    """Why there is no log, in words for people."""
    if isinstance(error, ApiNotFound):
        return _NO_POD
    if isinstance(error, ApiInvalid):
        return _NOT_STARTED
    return _NOT_READ if isinstance(error, ApiForbidden) else _NO_ANSWER


def _is_of(pod: Mapping[str, Any], job_uid: str) -> bool:
    """Whether a pod is of that very Job: any user may write labels."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == job_uid and one.get("controller") for one in owners)


def _decoded(encoded: object) -> str:
    try:
        return base64.b64decode(str(encoded)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
