"""Whether the Secret of each WebhookTrigger can be used: not Ready, with an Event, while no request can authenticate.

Secrets are not watched: the controller's role has `get` alone. The leader reads a trigger's Secret when the trigger
appears or changes, and at intervals: those of all triggers spread over minutes, by namespace in turn, and one with
a problem again after seconds, then every minute. A problem found by a delivery is checked on the replica that received
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.fairness import RoundRobin, Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, SecretReader
from git_events_runner.errors import ApiError, ApiNotFound, SecretUnusable
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.report import Report
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.problems import WEBHOOK, Problem, is_same, part_problem

from .keys import read_keys

log = structlog.get_logger(target="webhooks")

_EACH_S = 0.1
_CHECK_S = 20.0
_GOOD_S = 600.0
_BAD_S, _LONGEST_BAD_S = 5.0, 60.0
_PASS_S = 2.0


class SecretChecks:
    """Reports webhook Secrets that cannot be used; at most ten reads in a second."""

    def __init__(
        self,
        *,
        store: Store,
        secrets: SecretReader,
        writer: StatusWriter,
        announcer: EventRecorder,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others; `secrets` keeps a value for a few seconds."""
        self._store = store
        self._secrets = secrets
        self._writer = writer
        self._announcer = announcer
        self._now = now
        self._weight = weight
        self._waiting: RoundRobin[Ref] = RoundRobin(weight=weight)
        self._noted: set[Ref] = set()
        self._doubted: set[Ref] = set()
        self._came = asyncio.Event()
        self._due: dict[str, float] = {}  # uid → when the leader checks it again
        self._bad: dict[str, int] = {}  # uid → how often in sequence it was not usable
        self._slices = Slices()

    def note(self, trigger: Ref) -> None:
        """A delivery has found that its Secret is not as reported: it is checked again."""
        self._doubted.add(trigger)
        self._put(trigger)

    def _put(self, trigger: Ref) -> None:
        """Queue a check of its Secret, in the turn of its namespace."""
        if trigger not in self._noted:
            self._noted.add(trigger)
            self._waiting.put(trigger.namespace or "", trigger)
            self._came.set()

    async def run(self) -> None:
        """Check noted triggers until cancelled; a failing status write delays no other trigger's check."""
        checks = Handover(self._check_one, weight=self._weight)
        async with working(checks):
            while True:
                while (taken := self._waiting.pop()) is None:
                    self._came.clear()
                    await self._came.wait()
                self._noted.discard(taken[1])
                if self._store.get(taken[1]) is not None:
                    checks.put(*taken)
                    await asyncio.sleep(_EACH_S)

    async def _check_one(self, ref: Ref) -> bool:
        doubted = ref in self._doubted
        self._doubted.discard(ref)
        trigger = self._store.get(ref)
        if trigger is not None and trigger.model is not None:
            good = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_S):
                    good = await self._check(trigger, live=doubted)
            self._plan(trigger, good=good)
        return True

    async def run_as_leader(self, fence: Fence) -> None:
        """Note every trigger at intervals, and those that change, until leadership ends."""
        loop = asyncio.get_running_loop()
        self._due.clear()
        self._bad.clear()
        generations: dict[str, int] = {}
        with self._store.subscribe("WebhookTrigger") as changes:
            await self._plan_all(generations)
            next_pass = loop.time()
            while True:
                fence.check()
                for ref in changes.drain():
                    self._follow(ref, generations)
                    await self._slices.rest()
                if loop.time() >= next_pass:
                    await self._note_due(generations)
                    next_pass = loop.time() + _PASS_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_pass):
                        await changes.wait()
                        await asyncio.sleep(_EACH_S)

    def _follow(self, ref: Ref, generations: dict[str, int]) -> None:
        """A trigger was created or changed: its Secret is checked soon if its spec has changed."""
        changed = self._store.get(ref)
        if changed is None:
            return
        if generations.get(changed.uid) != changed.generation:
            generations[changed.uid] = changed.generation
            self._bad.pop(changed.uid, None)
            self._due[changed.uid] = asyncio.get_running_loop().time() + _GOOD_S
            self._put(ref)
        elif changed.uid not in self._bad and part_problem(changed.raw.get("status"), WEBHOOK) is not None:
            self._plan(changed, good=False)  # another replica has found it

    async def _note_due(self, generations: dict[str, int]) -> None:
        """Note the triggers whose time has passed; forget deleted ones in their turn."""
        now = asyncio.get_running_loop().time()
        for uid in list(self._due):
            trigger = self._store.by_uid("WebhookTrigger", uid)
            if trigger is None:
                del self._due[uid]
                self._bad.pop(uid, None)
                generations.pop(uid, None)
            elif self._due[uid] <= now:
                self._due[uid] = now + _GOOD_S * random.uniform(0.9, 1.1)  # noqa: S311  jitter, not a secret
                self._put(trigger.ref)
            await self._slices.rest()

    async def _plan_all(self, generations: dict[str, int]) -> None:
        """All triggers, by namespace in turn: a tenant's thousands do not delay the first check of a neighbour's.

        A deletion or edit meanwhile is a change, which is handled afterwards.
        """
        now, queue = asyncio.get_running_loop().time(), RoundRobin[Snapshot](weight=self._weight)
        for trigger in self._store.all("WebhookTrigger"):
            queue.put(trigger.ref.namespace or "", trigger)
            await self._slices.rest()
        place = 0
        while (taken := queue.pop()) is not None:
            generations[taken[1].uid] = taken[1].generation
            self._due[taken[1].uid] = now + place * _EACH_S
            place += 1
            await self._slices.rest()

    def _plan(self, trigger: Snapshot, *, good: bool) -> None:
        """Plan the next check by the leader, soon if the Secret is not usable."""
        if good or trigger.uid not in self._due:
            self._bad.pop(trigger.uid, None)
            return
        failures = self._bad[trigger.uid] = self._bad.get(trigger.uid, 0) + 1
        wait_s = delay_s(failures, first_s=_BAD_S, longest_s=_LONGEST_BAD_S)
        self._due[trigger.uid] = asyncio.get_running_loop().time() + wait_s

    async def _check(self, trigger: Snapshot, *, live: bool) -> bool:
        """Read the Secret and report; whether it is usable and verified."""
        fields = {"kind": trigger.ref.kind, "namespace": trigger.ref.namespace, "name": trigger.ref.name}
        reported = part_problem(trigger.raw.get("status"), WEBHOOK)
        try:
            problem = await self._problem(
                trigger, trigger.model.spec.webhook.auth_config, live=live or reported is not None
            )
            if problem is None and reported is None:
                return True
            now = rfc3339(self._now())
            report = Report(source=None, part=WEBHOOK, problem=problem, generation=trigger.generation, now=now)
            await self._writer.write(trigger.ref, trigger.uid, report)
        except ApiNotFound:
            return True
        except ApiError as error:
            log.debug("status.failed", **fields, error=str(error), reason=error.reason)
            return False
        if problem is not None and not is_same(reported, problem):
            log.warning("secret.unreadable", **fields, error=problem.message, reason=problem.reason)
            self._announcer.publish(
                trigger.ref, trigger.uid, kind="Warning", reason=problem.reason, note=problem.message
            )
        return problem is None

    async def _problem(self, trigger: Snapshot, auth: Any, *, live: bool) -> Problem | None:
        if auth is None:
            return None
        try:
            await read_keys(self._secrets, trigger.ref.namespace or "", auth, live=live, strict=True)
        except SecretUnusable as unusable:
            message = f"{unusable}; until then no request authenticates"
            return Problem(reason=unusable.reason, message=message)
        return None
