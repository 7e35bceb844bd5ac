"""The messages of one Notifier that wait, in order (of one namespace, where its Secrets are in that of the trigger)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.report import RunReport
from git_events_runner.rules.notifications.webhook import Report

PENDING_MAX = 10_000


def secrets_namespace(notifier: Snapshot, report: Report) -> str:
    """The namespace of a Notifier's Secrets if that is the trigger's, as of a ClusterNotifier that names none."""
    spec = notifier.model.spec
    tls = spec.tls_config
    named = [spec.secret_ref, tls.ca_cert.secret_ref if tls is not None and tls.ca_cert is not None else None]
    taken = notifier.ref.namespace is None and any(each is not None and each.namespace is None for each in named)
    return (report.trigger.namespace or "") if taken else ""


@dataclass(slots=True, kw_only=True)
class Pending:
    """A run or a problem to report: its state when it was put, and the loop's time then."""

    report: Report
    since: float


@dataclass(slots=True, kw_only=True)
class Lane:
    """One Notifier: what waits (by the uid of the Job or trigger), and how often in a row sending has failed.

    `unfinished` are the runs that its receiver shows as waiting or running.
    """

    ref: Ref
    uid: str
    pending: dict[str, Pending] = field(default_factory=dict)
    unfinished: dict[str, RunReport] = field(default_factory=dict)
    failures: int = 0
    shown: str | None = None  # the failure that was logged last
    passed: set[str] = field(default_factory=set)  # uids of the triggers whose message was to be sent again
    is_draining: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self) -> tuple[str, Pending]:
        """The first message that waits, but those of a trigger whose message failed follow those of the others."""
        for key, waiting in self.pending.items():
            if waiting.report.trigger_uid not in self.passed:
                return key, waiting
        self.passed.clear()
        return next(iter(self.pending.items()))

    def put(self, report: Report, now: float) -> bool:
        """Add a report, or replace what waits of the same run or trigger; False: the oldest one is dropped instead."""
        known = self.pending.get(report.key)
        if known is not None:
            known.report = report
            return True
        self.pending[report.key] = Pending(report=report, since=now)
        if len(self.pending) <= PENDING_MAX:
            return True
        del self.pending[next(iter(self.pending))]
        return False

    @property
    def oldest(self) -> float | None:
        """The loop's time when the oldest one was put."""
        return min((each.since for each in self.pending.values()), default=None)


def pending_of(lanes: Iterable[Lane], now: float) -> dict[Ref, tuple[int, float]]:
    """Of each Notifier with a lane: how many messages wait, and for how many seconds the oldest one does."""
    found: dict[Ref, tuple[int, float]] = {}
    for lane in lanes:
        count, age_s = found.get(lane.ref, (0, 0.0))
        mine_s = now - lane.oldest if lane.oldest is not None else 0.0
        found[lane.ref] = count + len(lane.pending), max(age_s, mine_s)
    return found
