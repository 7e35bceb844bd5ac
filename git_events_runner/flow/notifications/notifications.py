"""The leader's messages: for each Notifier one after another, those of different Notifiers concurrently.

A receiver that is slow, or does not answer, delays only the messages of its own Notifier, and no run. Where a
ClusterNotifier takes a Secret of each namespace, one that is missing delays only the messages about its namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import working
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeWriter
from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.kinds import NOTIFIERS, TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.lifecycle import FAILED, SUCCEEDED, JobEnded, JobEvent
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.notifications import marks
from git_events_runner.rules.notifications.cancelled import cancelled
from git_events_runner.rules.notifications.problem import ProblemReport
from git_events_runner.rules.notifications.report import CANCELLED, FINAL, UNFINISHED, RunReport
from git_events_runner.rules.notifications.request import Accepted, Refused, Retry, Verdict
from git_events_runner.rules.notifications.selection import (
    TRIGGER_DELETED,
    is_due,
    keeps_job,
    report_of_run,
)
from git_events_runner.rules.notifications.webhook import Report
from git_events_runner.telemetry.notification_metrics import NotificationMetrics

from .cancellations import Cancellations
from .conditions import NotifierConditions
from .deleted_jobs import DeletedJobs
from .lane import Lane, pending_of, secrets_namespace
from .left_out import LeftOut
from .marks_writer import MarksWriter
from .problems import Problems, is_problem
from .recoveries import Recoveries
from .selected import Selected, creation
from .slots import RequestSlots

log = structlog.get_logger(target="notifications")

Send = Callable[[Snapshot, Report], Awaitable[Verdict]]
_PASS_S = 30.0
_GAUGES_S = 5.0
_DRAINED_S = 0.1
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 60.0
_FAILURES_SHOWN = 3


class Notifications:
    """Sends what is not reported yet while this replica is the leader; without a Notifier it does nothing."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        store: Store,
        send: Send,
        close: Callable[[], Awaitable[None]],
        announcer: EventRecorder,
        metrics: NotificationMetrics,
        request_timeout_s: float,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`send` is called with a Notifier and a run; `close` when leadership ends."""
        self._store = store
        self._send = send
        self._close = close
        self._metrics = metrics
        self._now = now
        self._marks = MarksWriter(api=api, store=store, request_timeout_s=request_timeout_s, weight=weight)
        self._cancellations = Cancellations(
            api=api, store=store, request_timeout_s=request_timeout_s, now=now, weight=weight
        )
        self._problems = Problems(api=api, store=store, request_timeout_s=request_timeout_s, now=now, weight=weight)
        self._recoveries = Recoveries(store)
        self._selected = Selected(store)
        self._deleted = DeletedJobs(store=store, selected=self._selected, cancellations=self._cancellations, now=now)
        self._conditions = NotifierConditions(api=api, store=store, announcer=announcer, now=now)
        self._slices = Slices()
        self._left_out = LeftOut(store=store, selected=self._selected, conditions=self._conditions)
        self._lanes: dict[tuple[str, str], Lane] = {}  # by the uid of the Notifier, and the namespace of its Secrets
        self._requests = RequestSlots()
        self._work = asyncio.Event()
        self._drained = asyncio.Event()

    def observe(self, event: JobEvent) -> None:
        """Put what happened to a Job into the lanes of the Notifiers that report it."""
        notifiers = self._selected.notifiers()
        if not notifiers:
            return
        job = self._store.get(event.run.job)
        if isinstance(event, JobEnded) and event.result not in {SUCCEEDED, FAILED}:
            report = report_of_run(event.run, self._store)
            if report is not None:
                self._put(notifiers, cancelled(report, event.result, self._now()), None)
        elif job is not None and job.uid == event.run.uid:
            self._consider(notifiers, job)
        else:
            report = report_of_run(event.run, self._store)
            if report is not None:
                self._put(notifiers, report, None)

    async def cancelling(self, job: Snapshot, result: str) -> None:
        """Record that a Job is about to be deleted before it ends, so that no crash leaves its status pending.

        Raises:
            ApiError: The API server gave no answer: nothing is deleted yet, try again.
        """
        await self._deleted.cancelling(job, result)

    async def lost(self, trigger: Snapshot, source: str, name: str) -> None:
        """Record that a Job was deleted before it ended, and no leader has seen it.

        Raises:
            ApiError: The API server gave no answer: try again.
        """
        for notifier, report in await self._deleted.lost(trigger, source, name):
            self._put_to(notifier, report, None)

    def keeps(self, job: Snapshot) -> bool:
        """Whether a Job may have no TTL yet, because a message about its end is still to be sent."""
        notifiers = self._selected.notifiers()
        report = self._selected.report(job) if notifiers else None
        if report is None:
            return False
        found = self._selected.concerned(notifiers, report.trigger)
        return any(
            keeps_job(each, self._recoveries.worded(each, report), self._marks.mark(job, each.uid), self._now())
            for each in found
        )

    async def drained(self) -> None:
        """Wait until every Job has ended and no message waits."""
        while self._store.unfinished_jobs() or await self._has_messages():
            self._drained.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAINED_S):
                    await self._drained.wait()

    async def _has_messages(self) -> bool:
        await self._consider_all()
        return any(lane.pending for lane in self._lanes.values())

    async def run_as_leader(self, fence: Fence) -> None:
        """Send until leadership ends."""
        self._lanes.clear()
        writes = self._marks.begin(fence), self._cancellations.begin(), self._problems.begin(fence)
        try:
            async with working(*writes), asyncio.TaskGroup() as group:
                with self._store.subscribe(declared=NOTIFIERS) as changes:
                    await self._follow(changes.wait, changes.drain, group, fence)
        finally:
            self._lanes.clear()
            self._cancellations.end()
            self._metrics.pending({})
            await self._close()

    async def _follow(
        self,
        changed: Callable[[], Awaitable[None]],
        take: Callable[[], set[Ref]],
        group: asyncio.TaskGroup,
        fence: Fence,
    ) -> None:
        loop = asyncio.get_running_loop()
        next_pass = loop.time()
        while True:
            notifiers = self._selected.notifiers()
            if not notifiers and not self._lanes:
                await changed()
            if self._wake(take()):
                next_pass = loop.time()
            if loop.time() >= next_pass:
                await self._consider_all()
                next_pass = loop.time() + _PASS_S
            self._work.clear()
            for lane in self._lanes.values():
                if lane.pending and not lane.is_draining:
                    lane.is_draining = True
                    group.create_task(self._drain(lane, fence))
            self._show()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GAUGES_S):
                    await self._work.wait()

    def _wake(self, changed: set[Ref]) -> bool:
        """Whether Notifiers have changed: what waits is tried again with their new specs, and all Jobs are read."""
        for lane in self._lanes.values():
            if lane.ref in changed:
                lane.wake.set()
        return bool(changed)

    async def _consider_all(self) -> None:
        """Put what is not reported yet of all Jobs: nothing depends on an event that was missed."""
        notifiers = self._selected.notifiers()
        known = {each.uid for each in notifiers}
        for key in [key for key in self._lanes if key[0] not in known]:
            lane = self._lanes.pop(key)
            lane.pending.clear()
            self._metrics.forget(lane.ref)
        if not notifiers:
            return
        for job in sorted(self._store.all("Job"), key=creation):
            await self._slices.rest()
            self._consider(notifiers, job)
        for notifier in notifiers:
            if notifier.model is not None:
                self._consider_cancelled(notifier)
        self._recoveries.keep({job.uid for job in self._store.all("Job")})
        if is_problem(notifiers):
            await self._consider_problems(notifiers)
        await self._left_out.check(notifiers)

    def _consider_cancelled(self, notifier: Snapshot) -> None:
        """Put the cancelled runs that its status records, and those whose trigger was deleted while they waited."""
        for lane in [each for each in self._lanes.values() if each.uid == notifier.uid]:
            for report in list(lane.unfinished.values()):
                is_deleted = self._selected.is_without_trigger(report)
                if not is_deleted and not self._selected.has_ended(report):
                    continue
                del lane.unfinished[report.job_uid]
                waiting = lane.pending.get(report.key)
                if is_deleted and (waiting is None or waiting.report.state not in FINAL):
                    now = self._now()
                    self._put_to(notifier, replace(report, state=CANCELLED, why=TRIGGER_DELETED, ended_at=now), None)
        for report in self._cancellations.waiting(notifier):
            self._put_to(notifier, report, None)

    async def _consider_problems(self, notifiers: list[Snapshot]) -> None:
        for trigger in [each for kind in TRIGGERS for each in self._store.all(kind)]:
            await self._slices.rest()
            if self._problems.is_of_interest(trigger):
                for notifier, report in self._problems.due(self._selected.concerned(notifiers, trigger.ref), trigger):
                    self._put_into_lane(notifier, report)

    def _consider(self, notifiers: list[Snapshot], job: Snapshot) -> None:
        report = self._selected.report(job)
        if report is not None:
            self._put(notifiers, report, job)
        elif (orphan := self._selected.orphan(job)) is not None:
            self._follow_orphan(notifiers, orphan, job)

    def _follow_orphan(self, notifiers: list[Snapshot], report: RunReport, job: Snapshot) -> None:
        """A trigger was deleted while there was no leader: its receivers show this run as waiting or running."""
        for notifier in notifiers:
            mark = self._marks.mark(job, notifier.uid) if notifier.model is not None else None
            if mark in UNFINISHED and self._selected.selects_namespace(notifier, report.trigger):
                self._lane_of(notifier, report).unfinished[report.job_uid] = report

    def _put(self, notifiers: list[Snapshot], report: RunReport, job: Snapshot | None) -> None:
        for notifier in self._selected.concerned(notifiers, report.trigger):
            self._put_to(notifier, report, job)

    def _put_to(self, notifier: Snapshot, report: RunReport, job: Snapshot | None) -> None:
        if report.state == CANCELLED:
            mark = self._cancellations.mark(notifier, report.job_uid)
        else:
            mark = self._marks.mark(job, notifier.uid) if job is not None else None
        report = self._recoveries.worded(notifier, report)
        if mark is not None and report.state not in FINAL:
            self._lane_of(notifier, report).unfinished[report.job_uid] = report
        if not is_due(notifier, report, mark, self._now()):
            return
        if report.state == CANCELLED:
            self._cancellations.put(notifier, report)
        self._put_into_lane(notifier, report)

    def _lane_of(self, notifier: Snapshot, report: Report) -> Lane:
        key = notifier.uid, secrets_namespace(notifier, report)
        return self._lanes.setdefault(key, Lane(ref=notifier.ref, uid=notifier.uid))

    def _put_into_lane(self, notifier: Snapshot, report: Report) -> None:
        lane = self._lane_of(notifier, report)
        if not lane.put(report, asyncio.get_running_loop().time()):
            self._metrics.failed(notifier.ref, notifier.model.spec.type)
        self._work.set()

    async def _drain(self, lane: Lane, fence: Fence) -> None:
        """Send what waits for one Notifier, one after another."""
        try:
            while lane.pending:
                notifier = self._store.get(lane.ref)
                if notifier is None or notifier.uid != lane.uid:
                    lane.pending.clear()
                elif notifier.model is None:
                    await self._wait(lane, _LONGEST_BACKOFF_S)
                else:
                    await self._send_next(lane, notifier, fence)
        finally:
            lane.is_draining = False
            self._drained.set()

    async def _send_next(self, lane: Lane, notifier: Snapshot, fence: Fence) -> None:
        uid, waiting = lane.next()
        report = self._current(notifier, waiting.report)
        if report is None:
            del lane.pending[uid]
            if waiting.report.state == CANCELLED:  # a newer run's status is the one of the commit
                self._cancellations.sent(notifier, uid, marks.accepted(CANCELLED))
            await asyncio.sleep(0)
            return
        async with self._requests.of(report.trigger.namespace or ""):
            fence.check()
            lane.wake.clear()
            try:
                verdict = await self._send(notifier, report)
            except Exception:  # the border of one Notifier's work: a bug in it must not end the others'
                log.exception("object.crashed", namespace=lane.ref.namespace, name=str(lane.ref))
                verdict = Retry(message="the message could not be created; the log of the controller has the cause")
        fields = {"kind": lane.ref.kind, "namespace": lane.ref.namespace, "name": lane.ref.name}
        kind = notifier.model.spec.type
        match verdict:
            case Accepted():
                if not verdict.simulated:
                    log.debug("notification.sent", **fields, job=report.about, result=report.state)
                    self._metrics.sent(lane.ref, kind)
                self._finish(lane, notifier, report)
                await self._conditions.write(notifier, Reason.DELIVERED, "the receiver accepted the last message")
            case Refused():
                log.warning("notification.refused", **fields, job=report.about, error=verdict.message)
                self._metrics.failed(lane.ref, kind)
                self._finish(lane, notifier, report, refused=True)
                await self._conditions.write(notifier, Reason.DELIVERY_REFUSED, verdict.message)
            case Retry():
                lane.failures += 1
                lane.passed.add(report.trigger_uid)
                self._metrics.failed(lane.ref, kind)
                reason = verdict.reason or Reason.DELIVERY_FAILING
                if (verdict.reason is not None or lane.failures >= _FAILURES_SHOWN) and lane.shown != verdict.message:
                    lane.shown = verdict.message
                    log.warning("notification.delayed", **fields, job=report.about, error=verdict.message)
                    text = f"{verdict.message}; {len(lane.pending)} messages wait and are sent again"
                    await self._conditions.write(notifier, reason, text if verdict.reason is None else verdict.message)
                backoff_s = delay_s(lane.failures, first_s=_FIRST_BACKOFF_S, longest_s=_LONGEST_BACKOFF_S)
                await self._wait(lane, backoff_s if verdict.after_s is None else max(verdict.after_s, _FIRST_BACKOFF_S))

    async def _wait(self, lane: Lane, seconds: float) -> None:
        """Wait, unless the Notifier is changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await lane.wake.wait()
        lane.wake.clear()

    def _finish(self, lane: Lane, notifier: Snapshot, report: Report, *, refused: bool = False) -> None:
        lane.failures, lane.shown = 0, None
        lane.passed.discard(report.trigger_uid)
        waiting = lane.pending.get(report.key)
        if waiting is not None and waiting.report.state == report.state:
            del lane.pending[report.key]
        if isinstance(report, ProblemReport):
            self._problems.record(notifier, report, refused=refused)
            return
        if report.state in FINAL:
            lane.unfinished.pop(report.job_uid, None)
        else:
            lane.unfinished[report.job_uid] = report
        mark = marks.refused(report.state, notifier.generation) if refused else marks.accepted(report.state)
        if report.state == CANCELLED:
            self._cancellations.sent(notifier, report.job_uid, mark)
        self._marks.put(report.job, report.job_uid, lane.uid, mark)

    def _current(self, notifier: Snapshot, report: Report) -> Report | None:
        """The report as it is to be sent now; None: it is sent, or a newer run of its commit is."""
        if isinstance(report, ProblemReport):
            return self._problems.current(notifier, report)
        job = self._store.get(report.job)
        mark = None
        if report.state == CANCELLED:
            mark = self._cancellations.mark(notifier, report.job_uid)
        elif job is not None and job.uid == report.job_uid:
            report = self._recoveries.worded(notifier, self._selected.report(job) or report)
            mark = self._marks.mark(job, notifier.uid)
        if not is_due(notifier, report, mark, self._now()):
            return None
        return None if notifier.model.spec.commit_status is not None and self._selected.is_overtaken(report) else report

    def _show(self) -> None:
        self._metrics.pending(pending_of(self._lanes.values(), asyncio.get_running_loop().time()))
