"""Writes into the Jobs what was reported of them: one request for a Job at a time, again until it has succeeded."""

from __future__ import annotations

from typing import Any

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeWriter
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.job import NOTIFIED_ANNOTATION
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.notifications.marks import marks_of, marks_text

from .fenced_writes import FencedWrites

log = structlog.get_logger(target="notifications")

_PATH = "/metadata/annotations/" + NOTIFIED_ANNOTATION.replace("~", "~0").replace("/", "~1")


class MarksWriter:
    """Knows the marks of each Job: those that it records, and those that are being written."""

    def __init__(self, *, api: KubeWriter, store: Store, request_timeout_s: float, weight: Weight) -> None:
        self._api = api
        self._store = store
        self._request_timeout_s = request_timeout_s
        self._unwritten: dict[str, dict[str, str]] = {}  # by the uid of the Job
        self._writes = FencedWrites(self._write, weight=weight)

    def begin(self, fence: Fence) -> Handover[tuple[Ref, str]]:
        """The writes of a leadership, to be run while it lasts."""
        self._unwritten.clear()
        return self._writes.begin(fence)

    def mark(self, job: Snapshot, notifier_uid: str) -> str | None:
        """What was reported last of a Job to a Notifier."""
        found = self._unwritten.get(job.uid, {}).get(notifier_uid)
        if found is not None:
            return found
        annotations = job.raw["metadata"].get("annotations") or {}
        text = annotations.get(NOTIFIED_ANNOTATION)
        return marks_of(text).get(notifier_uid) if text else None

    def put(self, job: Ref, uid: str, notifier_uid: str, mark: str) -> None:
        """Record that a state was reported."""
        self._unwritten.setdefault(uid, {})[notifier_uid] = mark
        self._writes.put(job, uid)

    async def _write(self, ref: Ref, uid: str, fence: Fence) -> bool:
        marks = dict(self._unwritten.get(uid, {}))
        job = self._store.get(ref)
        if job is None or job.uid != uid or not marks:
            self._unwritten.pop(uid, None)
            return True
        known = marks_of((job.raw["metadata"].get("annotations") or {}).get(NOTIFIED_ANNOTATION))
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": _PATH, "value": marks_text({**known, **marks})},
        ]
        fence.check()
        try:
            self._store.observe(await self._api.patch(ref, patch, timeout_s=self._request_timeout_s))
        except ApiNotFound:
            pass
        except ApiError as error:
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return False
        left = {name: mark for name, mark in self._unwritten.get(uid, {}).items() if marks.get(name) != mark}
        if left:
            self._unwritten[uid] = left
        else:
            self._unwritten.pop(uid, None)
        return not left
