"""Resolves what a run of a trigger's source needs, and applies the installation's policy.

All resolution uses this gate: no request to git, copy of a Secret or Job bypasses the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from git_events_runner.concurrency.fairness import FairCache
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import InvalidObject
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.policy import Policy, limit_reached, refusal, replaces_runs, too_often
from git_events_runner.rules.resolve import Resolved, resolve
from git_events_runner.rules.schedule.schedule import Schedule, parse_schedule
from git_events_runner.rules.strangers import forks_refused
from git_events_runner.rules.waits import WaitPolicy, closed_until

_AGAIN = timedelta(minutes=10)
_KEPT = 2000
_SCHEDULES_KEPT = 8192


@dataclass(slots=True)
class _Waits:
    """What makes changes of triggers with the same fields wait, and the last result for their windows."""

    policy: WaitPolicy | Problem | None
    since: datetime | None = None
    until: datetime | None = None
    closed_until: datetime | None = None


class ConfiguredPolicyGate:
    """Decides by the current policy; a refusal becomes an Event of the trigger, at most every ten minutes."""

    def __init__(
        self, *, store: Store, policy: Callable[[], Policy], announcer: EventRecorder, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._policy = policy
        self._announcer = announcer
        self._now = now
        self._announced: FairCache[tuple[str, str, str], datetime] = FairCache(limit=_KEPT, room=store.sizes.requests)
        self._schedules: FairCache[tuple[str | None, str | None, int], Schedule | Problem]
        self._schedules = FairCache(limit=_SCHEDULES_KEPT, room=store.sizes.triggers)
        self._waits: FairCache[tuple[Any, ...], _Waits] = FairCache(limit=_SCHEDULES_KEPT, room=store.sizes.triggers)

    @property
    def policy(self) -> Policy:
        """The current policy."""
        return self._policy()

    def resolve(self, trigger: Any, source: str, *, deleted: bool = False) -> Resolved | Problem:
        """What a run of a trigger (its model) and one of its sources needs, or why there may be none.

        `source` is the key of an entry; `deleted`: the run is for a reference that was deleted.
        """
        namespace = trigger.ref.namespace or ""
        if self._store.refused(namespace):  # an unknown object there is not missing
            why = self._store.scopes.why(namespace)
            message = f"namespace {namespace} cannot be read ({why}); bind the controller's roles in it"
            return Problem(reason="NamespaceRefused", message=message)
        resolved = resolve(trigger, source, self._store.get, deleted=deleted)
        if isinstance(resolved, Problem):
            return resolved
        policy = self._policy()
        refused = refusal(policy, resolved, namespace, self._labels(namespace))
        refused = refused or replaces_runs(policy, trigger.spec.concurrency)
        refused = refused or forks_refused(policy.fork_pull_requests, trigger, resolved)
        if refused is None:
            return resolved
        self._announce(trigger.ref, trigger.metadata.uid, refused)
        return refused

    def schedule_of(self, namespace: str, interval: str | None, cron: str | None) -> Schedule | Problem:
        """The schedule of a trigger's spec, or why it is invalid; validated once per text and policy."""
        policy = self._policy()
        key = (interval, cron, policy.minimum_interval_s)
        found = self._schedules.get(key)
        if found is None:
            found = self._validated(policy, interval, cron)
            self._schedules.put(namespace, key, found)
        return found

    def _validated(self, policy: Policy, interval: str | None, cron: str | None) -> Schedule | Problem:
        try:
            schedule = parse_schedule(interval, cron)
        except InvalidObject as error:
            return Problem(reason="InvalidSchedule", message=str(error), stalled=True)
        often = too_often(policy, schedule, self._now())
        return schedule if often is None else Problem(reason="IntervalTooShort", message=str(often), stalled=True)

    def waits_of(self, trigger: Any) -> WaitPolicy | Problem | None:
        """What makes changes of a trigger (its model) wait, or why its fields cannot be used; None: nothing does."""
        known = self._waits_of(trigger)
        return None if known is None else known.policy

    def closed_until(self, trigger: Any) -> datetime | None:
        """Outside the windows of a trigger and of the installation: when runs may start; None: now.

        It is computed once for each opening and closing, for all triggers with the same fields.
        """
        known, now = self._waits_of(trigger), self._now()
        if known is None or not isinstance(known.policy, WaitPolicy) or known.policy.windows is None:
            return None
        if known.since is None or now < known.since or (known.until is not None and now >= known.until):
            known.since = now
            known.closed_until, known.until = closed_until(known.policy.windows, now)
        return known.closed_until

    def _waits_of(self, trigger: Any) -> _Waits | None:
        spec, everywhere = trigger.spec, self._policy().windows
        if not (spec.windows or everywhere) and spec.debounce is None and spec.cooldown is None:
            return None
        key = (spec.windows, spec.debounce, spec.cooldown, everywhere)
        known = self._waits.get(key)
        if known is None:
            try:
                known = _Waits(WaitPolicy.of(spec, everywhere))
            except InvalidObject as error:
                known = _Waits(Problem(reason="InvalidSpec", message=str(error), stalled=True))
            self._waits.put(trigger.ref.namespace or "", key, known)
        return known

    def no_room(self, trigger: Ref, uid: str, making: int) -> Problem | None:
        """Whether the trigger's namespace has the maximum of unfinished runs, including those being created."""
        policy, namespace = self._policy(), trigger.namespace or ""
        if not policy.unfinished_runs_per_namespace:
            return None
        unfinished = sum(
            not (job.model.finished or job.model.deleting) and owner_of(job, self._store) is not None
            for job in self._store.all("Job", namespace)
        )
        full = limit_reached(policy, namespace, unfinished + making)
        if full is not None:
            self._announce(trigger, uid, full)
        return full

    def _labels(self, namespace: str) -> Mapping[str, str]:
        found = self._store.get(Ref("Namespace", None, namespace))
        return (found.raw["metadata"].get("labels") or {}) if found else {}

    def _announce(self, trigger: Ref, uid: str, problem: Problem) -> None:
        key, now = (uid, problem.reason, problem.message), self._now()
        announced_at = self._announced.get(key)
        if announced_at is not None and now - announced_at < _AGAIN:
            return
        self._announced.put(trigger.namespace or "", key, now)
        self._announcer.publish(trigger, uid, kind="Warning", reason=problem.reason, note=problem.message)
