"""Runs that a newer run of their source makes superfluous: a waiting one is deleted, a running one is stopped first.

Only where the Job itself records `QueueLatest` or `Replace` (or did not start, and the newer run has), and after the
newer run is recorded. The Job that runs instead gets the requests of the deleted one, so that a task id resolves to it.
A stopped Job is deleted in the foreground: it exists until its pod is deleted, and until then nothing of its group
starts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.queuemarks import SUPERSEDES_ANNOTATION
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.ledger.tasks import requests_of
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.overtaken import REPLACED, SUPERSEDED, is_overtaken, keeps_latest, may_be_skipped

from .ports import Api, Deletions
from .slots import SlotBook
from .windows import JobWindows

log = structlog.get_logger(target="queue")

_ANNOTATIONS = "/metadata/annotations"
_SUPERSEDES = f"{_ANNOTATIONS}/{SUPERSEDES_ANNOTATION.replace('/', '~1')}"


class Replacing:
    """Deletes overtaken Jobs while this replica is the leader."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        book: SlotBook,
        windows: JobWindows,
        deletions: Deletions,
        request_timeout_s: float,
    ) -> None:
        self._api = api
        self._store = store
        self._book = book
        self._windows = windows
        self._deletions = deletions
        self._request_timeout_s = request_timeout_s

    @asynccontextmanager
    async def working(self, fence: Fence) -> AsyncIterator[None]:
        """Requests are sent while entered, those of different Jobs concurrently."""

        async def delete(ref: Ref) -> bool:
            return await self._delete(ref, fence)

        self._deleted = Handover(delete)
        async with working(self._deleted):
            yield

    def follow(self, snapshot: Snapshot) -> None:
        """A Job that has not ended, and records a policy, did not start, or waits for a window."""
        if self._end_of(snapshot) is not None:
            self._deleted.put(snapshot.ref.namespace, snapshot.ref)

    def _end_of(self, snapshot: Snapshot) -> tuple[str, Ref] | None:
        """How to end it, and the Job that runs instead; None: it stays."""
        view = snapshot.model
        skipped = may_be_skipped(view, windows=self._windows.bind(snapshot))
        if not (keeps_latest(view) or skipped) or view.finished or view.deleting or view.ending:
            return None
        if self._book.is_starting(snapshot.ref) or self._store.refused(snapshot.ref.namespace, "Job"):
            return None
        owner = owner_of(snapshot, self._store)
        if owner is None or not is_overtaken(owner) or owner.entry.job_name is None:
            return None
        newest = Ref("Job", snapshot.ref.namespace, owner.entry.job_name)
        found = self._store.get(newest)
        if view.waits:
            started = found is None or found.model.pod_started
            return (SUPERSEDED, newest) if keeps_latest(view) or started else None
        # Before its start is noted, the Job controller may create its pod while the Job is deleted.
        awaited = found is not None and found.model.waits and view.started_at is not None
        replaces = view.limit is not None and view.limit.policy == "Replace"
        return (REPLACED, newest) if replaces and not view.suspended and awaited else None

    async def _delete(self, ref: Ref, fence: Fence) -> bool:
        """Transfer the requests, then delete the Job in its last seen version; False: retry."""
        snapshot = self._store.get(ref)
        end = self._end_of(snapshot) if snapshot is not None else None
        if snapshot is None or end is None:
            return True
        phase, newest = end
        fence.check()
        if phase == SUPERSEDED:
            self._book.leaving.add(ref)
        try:
            await self._hand_over(snapshot, newest)
            fence.check()
            await self._deletions.end_overtaken(snapshot, phase)
        except ApiError as error:
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        finally:
            self._book.leaving.discard(ref)
        return True

    async def _hand_over(self, snapshot: Snapshot, newest: Ref) -> None:
        """Record the requests of a Job on the one that runs instead, if that exists."""
        found = self._store.get(newest)
        if found is None:
            return
        annotations = found.raw["metadata"].get("annotations") or {}
        known = str(annotations.get(SUPERSEDES_ANNOTATION) or "")
        handed = requests_of(snapshot.raw["metadata"].get("annotations") or {}, known=known)
        if handed == known:
            return
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": found.uid},
            {"op": "add", "path": _SUPERSEDES, "value": handed},
        ]
        try:
            self._store.observe(await self._api.patch(newest, patch, timeout_s=self._request_timeout_s))
        except ApiNotFound:
            log.debug("job.delayed", namespace=newest.namespace, job=newest.name, error="it was deleted")
