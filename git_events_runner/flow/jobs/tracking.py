"""Reads runs live that left the watch, before anything is concluded, and restores labels that they lost.

A Job that leaves the watch before it ended stays in the store as doubtful (`edges/kube/doubtful_jobs`): every replica
reads it live. If it does not exist, it was deleted; if it exists without the labels that select it, the leader restores
them and reports that. A Job that a status records as unfinished, and that no cache knows, is read live, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import structlog

from git_events_runner.concurrency.fairness import FairCache
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.doubtful_jobs import FIRST_PAUSE_S, DoubtfulJobs
from git_events_runner.edges.kube.snapshot import Snapshot, version_of
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeClient
from git_events_runner.errors import ApiError, ApiForbidden, ApiNotFound, FenceLost
from git_events_runner.resources.job import (
    RUN_ANNOTATION,
    TRIGGER_KIND_LABEL,
    TRIGGER_LABEL,
    RunKey,
    job_name,
    with_tracking,
)
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.jobs.labels import label
from git_events_runner.rules.jobs.last_job import unfinished_jobs
from git_events_runner.rules.messages import Fence

log = structlog.get_logger(target="tracking")

_AGAIN_S = 10.0  # of one that exists without its labels, until they are restored
_LONGEST_AGAIN_S = 600.0
_KEPT = 1000
_TOGETHER = 16


class Tracking:
    """Keeps this replica's view of the runs correct, also if their labels are changed."""

    def __init__(
        self, *, api: KubeClient, store: Store, doubts: DoubtfulJobs, announcer: EventRecorder, request_timeout_s: float
    ) -> None:
        self._api = api
        self._store = store
        self._doubts = doubts
        self._announcer = announcer
        self._request_timeout_s = request_timeout_s
        self._fence: Fence | None = None  # while this replica is the leader
        # Job uid → when its labels may be restored again, and how long to wait after that.
        self._restored: FairCache[str, tuple[float, float]] = FairCache(limit=_KEPT)

    async def run(self) -> None:
        """Read doubtful Jobs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._doubts.wait()
            due = self._doubts.due(loop.time())
            for start in range(0, len(due), _TOGETHER):
                async with asyncio.TaskGroup() as group:
                    for ref, uid in due[start : start + _TOGETHER]:
                        group.create_task(self._resolve(ref, uid))

    async def run_as_leader(self, fence: Fence) -> None:
        """Restore labels until leadership ends."""
        self._fence = fence
        self._doubts.hurry()
        try:
            await asyncio.Event().wait()
        finally:
            self._fence = None

    async def is_deleted(self, trigger: Snapshot, source: str, name: str) -> bool:
        """Whether a live read does not find the Job in the trigger's status; a Job without its labels is known then.

        Another object of that name is treated as none.

        Raises:
            ApiError: The API server does not respond, or refuses.
        """
        ref = Ref("Job", trigger.ref.namespace, name)
        try:
            found = await self._api.get(ref)
        except ApiNotFound:
            return True
        metadata = found["metadata"]
        run = RunKey.parse((metadata.get("annotations") or {}).get(RUN_ANNOTATION))
        if run is None or (run.trigger_uid, run.source) != (trigger.uid, source):
            return True
        if job_name(trigger.ref.name, run) != name:
            return True
        found["kind"] = "Job"
        tracked = with_tracking(found, _labels_of(trigger, source, metadata), {})
        self._store.found(tracked or found)
        if tracked is not None:
            self._doubts.add(ref, metadata["uid"])
        return False

    async def find_lost(self) -> None:
        """Read live every Job that a status records as unfinished and that the store does not know.

        Jobs that may not be read are left out: nothing of their namespace is started either.

        Raises:
            ApiError: The API server does not respond.
        """
        slices = Slices()
        for seen in (trigger for kind in TRIGGERS for trigger in self._store.all(kind)):
            await slices.rest()
            trigger = self._store.trigger(seen.uid) or seen  # its Jobs still run if it is deleted meanwhile
            lost = unfinished_jobs(trigger.raw.get("status"))
            known = {job.ref.name for job in self._store.jobs_of(trigger.uid)} if lost else ()
            for name, source in lost.items():
                if name in known or self._store.refused(trigger.ref.namespace, "Job"):
                    continue
                with contextlib.suppress(ApiForbidden):
                    await self.is_deleted(trigger, source, name)

    async def _resolve(self, ref: Ref, uid: str) -> None:
        held, loop = self._store.get(ref), asyncio.get_running_loop()
        if held is None or held.uid != uid:
            self._doubts.discard(ref)
            return
        try:
            found = await self._api.get(ref)
        except ApiNotFound:
            self._conclude(ref, uid)
            return
        except ApiError as error:
            if isinstance(error, ApiForbidden) and self._store.lacks_namespace(ref.namespace or ""):
                self._conclude(ref, uid)  # the roles in a namespace are deleted with it
                return
            self._doubts.back_off(ref, loop.time())
            log.debug("job.delayed", namespace=ref.namespace, job=ref.name, error=str(error))
            return
        if found["metadata"].get("uid") != uid:
            self._conclude(ref, uid)
            return
        held = self._store.get(ref)
        if held is None or held.uid != uid:
            return  # its deletion was concluded meanwhile, or it is another Job, doubtful by itself
        if version_of(found) < held.version:  # it left the watch again after this response
            self._doubts.delay(ref, loop.time() + FIRST_PAUSE_S)
            return
        tracked = with_tracking(found, held.model.labels, held.raw["metadata"]["annotations"])
        if tracked is None:  # the watch is stale
            self._store.observe({**found, "kind": "Job"})
            self._doubts.discard(ref)
            return
        self._store.observe({**tracked, "kind": "Job"})
        self._doubts.delay(ref, loop.time() + _AGAIN_S)
        await self._put_back(held, found, tracked)

    def _conclude(self, ref: Ref, uid: str) -> None:
        self._doubts.discard(ref)
        self._store.confirm_deleted(ref, uid)

    async def _put_back(self, held: Snapshot, found: Mapping[str, Any], tracked: Mapping[str, Any]) -> None:
        """Restore labels and annotations of a run, if this replica is the leader; of one Job at growing intervals."""
        loop, owner = asyncio.get_running_loop(), owner_of(held, self._store)
        if self._fence is None or owner is None:
            return
        earliest, again_s = self._restored.get(held.uid) or (0.0, _AGAIN_S)
        if loop.time() < earliest:
            self._doubts.delay(held.ref, earliest)
            return
        patch: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": held.uid}]
        names: list[str] = []
        for part in ("labels", "annotations"):
            there, wanted = found["metadata"].get(part), tracked["metadata"].get(part) or {}
            lost = {name: value for name, value in wanted.items() if (there or {}).get(name) != value}
            if lost and there is None:
                patch += [{"op": "test", "path": f"/metadata/{part}", "value": None}]
                patch += [{"op": "add", "path": f"/metadata/{part}", "value": lost}]
            else:
                patch += [
                    {"op": "add", "path": f"/metadata/{part}/{name.replace('/', '~1')}", "value": value}
                    for name, value in lost.items()
                ]
            names += sorted(lost)
        try:
            self._fence.check()
            restored = await self._api.patch(held.ref, patch, timeout_s=self._request_timeout_s)
        except FenceLost:
            return
        except ApiError as error:
            log.info("job.delayed", namespace=held.ref.namespace, job=held.ref.name, error=str(error))
            return
        self._store.observe({**restored, "kind": "Job"})
        earliest, again_s = loop.time() + again_s, min(again_s * 2, _LONGEST_AGAIN_S)
        self._restored.put(held.ref.namespace or "", held.uid, (earliest, again_s))
        log.warning("job.relabelled", namespace=held.ref.namespace, job=held.ref.name, error=", ".join(names))
        note = f"Job {held.ref.name} had lost what it is found by ({', '.join(names)}); it was put back"
        for ref, uid in ((owner.trigger.ref, owner.trigger.uid), (held.ref, held.uid)):
            self._announcer.publish(ref, uid, kind="Warning", reason="JobRelabelled", note=note)


def _labels_of(trigger: Snapshot, source: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """The tracking labels of a run's Job, as far as trigger and owner determine them."""
    prefix = TRIGGER_KIND_LABEL.rpartition("/")[0]
    labels = {TRIGGER_KIND_LABEL: trigger.ref.kind, TRIGGER_LABEL: label(trigger.ref.name)}
    if trigger.model is not None:
        labels |= {f"{prefix}/source-kind": trigger.model.spec.sources.kind, f"{prefix}/source-name": label(source)}
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    if owner is not None:
        labels |= {f"{prefix}/action-kind": owner["kind"], f"{prefix}/action-name": label(owner["name"])}
    return labels
