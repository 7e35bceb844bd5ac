"""Every deletion of an object, in one module: the reason is recorded first, so that a crash after it leaves none open.

A run that waited too long has its reason in the trigger's status (phase and condition), a Job whose trigger is deleted
in an Event on the Job. A copy of a Secret needs no record: the Job that owns it shows why, and the next leader decides
the same from it; nor does a run that a newer one supersedes or replaces. No other code of the controller sends DELETE
(tests/repo).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.ports import ImmediateEventRecorder, KubeWriter
from git_events_runner.errors import ApiError, ApiNotFound, ApiTooManyRequests, ApiUnavailable
from git_events_runner.flow.ports import RunMessages, StatusWriter
from git_events_runner.resources.job import copy_name
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.jobs.last_job import EXPIRED, JobPhase
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Problem, Report
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.overtaken import REPLACED, is_overtaken

log = structlog.get_logger(target="queue")

_KEPT = 1000


class Deletions:
    """Deletes Jobs and copies of Secrets while this replica is the leader."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        writer: StatusWriter,
        events: ImmediateEventRecorder,
        messages: RunMessages,
        request_timeout_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._messages = messages
        self._writer = writer
        self._events = events
        self._request_timeout_s = request_timeout_s
        self._now = now
        self._phases: BoundedDict[str, str] = BoundedDict(_KEPT)

    def phase_of(self, uid: str) -> str | None:
        """The last phase of a Job that this process deleted, or is about to; None: it deletes no such Job."""
        return self._phases.get(uid)

    async def expire(self, job: Snapshot, owner: Owner[Snapshot], message: str, fence: Fence) -> None:
        """Delete a run that waited too long, as it was last seen: phase and condition first.

        One that a newer run has overtaken is no problem of its source: its record is an Event on the Job.

        Raises:
            ApiError: The reason could not be recorded, or the Job was not deleted (if ApiUnavailable: perhaps).
            FenceLost: This replica may no longer act as the leader.
        """
        trigger, name = owner.trigger, job.ref.name
        known = owner.named or owner.entry.exists
        fence.check()
        if known and not is_overtaken(owner):
            problem = Problem(reason=EXPIRED, message=message)
            report = Report(
                source=owner.source, problem=problem, generation=trigger.generation, now=rfc3339(self._now())
            )
            phase = JobPhase(source=owner.source, job=name, phase=EXPIRED, finished=rfc3339(self._now()))
            await self._writer.write(trigger.ref, trigger.uid, phase, report)
        else:  # nothing new is written about a source that the trigger does not name any more
            await self._record(job, EXPIRED, message)
        await self._messages.cancelling(job, EXPIRED)
        fence.check()
        self._note(job.uid, EXPIRED)
        try:
            await self._delete(job, resource_version=str(job.version))
        except ApiNotFound:  # an earlier request, whose answer was lost, has arrived
            pass
        except ApiUnavailable:
            if known:
                self._publish(owner, message)
            raise
        except ApiError:  # it is still there
            self._phases.pop(job.uid, None)
            phase = JobPhase(source=owner.source, job=name, phase=job.model.phase)
            await self._writer.write(trigger.ref, trigger.uid, phase)
            raise
        if known:
            self._publish(owner, message)

    async def end_overtaken(self, job: Snapshot, phase: str) -> None:
        """Delete a run that a newer one supersedes or replaces, as it was last seen.

        The Job and its entry show why (`rules/overtaken.ended_as`). One that runs exists until its pod is deleted,
        after the pod's own grace period.

        Raises:
            ApiError: The Job was not deleted (if ApiUnavailable: perhaps).
        """
        await self._messages.cancelling(job, phase)
        self._note(job.uid, phase)
        propagation = "Foreground" if phase == REPLACED else "Background"
        try:
            await self._delete(job, resource_version=str(job.version), propagation=propagation)
        except ApiNotFound:  # an earlier request, whose answer was lost, has arrived
            return
        except ApiUnavailable:
            raise
        except ApiError:  # it is still there
            self._phases.pop(job.uid, None)
            raise

    async def delete_orphan(self, job: Snapshot, fence: Fence) -> None:
        """Delete a waiting Job whose trigger does not exist any more: an Event on the Job first.

        Raises:
            ApiError: The API server gave no answer to the Event, or the Job was not deleted.
            FenceLost: This replica may no longer act as the leader.
        """
        note = f"Job {job.ref.name} waits for a slot and its trigger was deleted; it is deleted before it starts"
        fence.check()
        await self._record(job, "TriggerDeleted", note)
        fence.check()
        await self._delete(job)
        log.info("job.deleted", reason="TriggerDeleted", namespace=job.ref.namespace, job=job.ref.name)

    async def delete_copy(self, job: Snapshot) -> None:
        """Delete the copy of a Secret that a Job owns.

        Raises:
            ApiError: It was not deleted.
        """
        secret = Ref("Secret", job.ref.namespace, copy_name(job.ref.name))
        await self._api.delete(secret, timeout_s=self._request_timeout_s)
        log.debug("secret.deleted", namespace=job.ref.namespace, job=job.ref.name)

    def _publish(self, owner: Owner[Snapshot], note: str) -> None:
        self._events.publish(owner.trigger.ref, owner.trigger.uid, kind="Warning", reason=EXPIRED, note=note)

    async def _record(self, job: Snapshot, reason: str, note: str) -> None:
        """An Event on the Job, now; where none can be created (a namespace that is being deleted) the log has it."""
        try:
            await self._events.record(job.ref, job.uid, kind="Normal", reason=reason, note=note)
        except (ApiUnavailable, ApiTooManyRequests):
            raise
        except ApiError as error:
            place = {"namespace": job.ref.namespace, "job": job.ref.name}
            log.info("job.unrecorded", reason=reason, error=str(error), **place)

    async def _delete(self, job: Snapshot, **preconditions: Any) -> None:
        await self._api.delete(job.ref, uid=job.uid, timeout_s=self._request_timeout_s, **preconditions)

    def _note(self, uid: str, phase: str) -> None:
        self._phases[uid] = phase
