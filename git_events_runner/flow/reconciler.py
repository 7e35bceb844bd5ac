"""Keeps each trigger's status equal to its spec: conditions for problems, no entries of removed sources.

Runs on the leader: reacts to changes of our kinds, and checks every few seconds for recorded requests that are
not handled (their replica died, or git did not respond in time).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from git_events_runner.concurrency.fairness import Weight
from git_events_runner.concurrency.handover import Handover, working
from git_events_runner.concurrency.reminders import Reminders
from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeWriter
from git_events_runner.errors import ApiError, ApiNotFound, FenceLost, InvalidObject
from git_events_runner.flow.ports import PolicyGate, StatusWriter
from git_events_runner.resources.kinds import ACTIONS, SOURCES, TRIGGERS
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules import patterns
from git_events_runner.rules.derived_conditions import EARLIER_LIMIT, names_in_spec
from git_events_runner.rules.identity import is_watched, runs_of
from git_events_runner.rules.idle_pulls import close_after, full_warnings, idle_of
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Mutation, Outcome, rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.prune import Prune
from git_events_runner.rules.ledger.repair import Repair, in_words, wrong_values
from git_events_runner.rules.ledger.report import Problem, Report, Warn
from git_events_runner.rules.messages import Fence
from git_events_runner.rules.naming import Naming
from git_events_runner.rules.problems import earlier_sources, source_problems, warning_of
from git_events_runner.rules.reconciled import open_webhook, reconciled_parts, warnings_of_removed, without_finalizer
from git_events_runner.rules.reference_entries import kept_keys, prune_delays, watched_by
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.waits import ShowWaiting, is_shown
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="reconcile")

_PASS_S = 5.0
_GATHER_S = 0.2
_WRITE_S = 10.0
_BACKOFF_S = (5.0, 15.0)
_REPAIR_SHOWN_S = 600.0
_CLEARED_AT_ONCE = 64  # problems; after their write the trigger is reconciled again
_EARLIER_S = EARLIER_LIMIT.total_seconds() + 60


class Requests(Protocol):
    """Recorded requests that are not handled."""

    def begin(self) -> None:
        """Leadership begins."""

    async def sweep(self, fence: Fence) -> None:
        """Submit checks of those that have been open for long."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """One trigger as last reconciled: its status of its spec, if no write was needed.

    `wrong` are the sources in which reconciling found a problem, as of that generation.
    """

    uid: str
    reconciled: object = None
    generation: int | None = None
    wrong: frozenset[str] = frozenset()


class Reconciler:
    """The leader's check of every trigger's spec."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        store: Store,
        gate: PolicyGate,
        writer: StatusWriter,
        announcer: EventRecorder,
        requests: Requests,
        metrics: Metrics,
        now: Callable[[], datetime],
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._api = api
        self._store = store
        self._gate = gate
        self._writer = writer
        self._announcer = announcer
        self._requests = requests
        self._metrics = metrics
        self._now = now
        self._weight = weight
        self._naming = Naming()
        self._slices = Slices()
        self._known: dict[Ref, _Known] = {}
        self._again = Reminders()  # uids of triggers with an entry to prune, or an idle pull request to close, later
        self._repaired: dict[str, float] = {}  # uid → the loop's time of the last repair of its status
        self._earlier: dict[str, float] = {}  # uid → since when a problem of another version is known, as above

    async def run_as_leader(self, fence: Fence) -> None:
        """Reconcile all triggers, then those that changes concern, until leadership ends."""
        loop = asyncio.get_running_loop()
        self._known.clear()
        self._again.clear()
        self._repaired.clear()
        self._earlier.clear()
        self._naming.clear()
        self._requests.begin()
        warned: dict[Ref, int] = {}

        async def reconcile(ref: Ref) -> bool:
            return await self._reconcile_one(ref, fence)

        self._waiting = Handover(reconcile, weight=self._weight, backoff_s=_BACKOFF_S)
        with self._store.subscribe(*TRIGGERS, declared=(*SOURCES, *ACTIONS, "Namespace")) as changes:
            await self._warn((snapshot.ref for snapshot in self._store.all("GitRepo")), warned)
            async with working(self._waiting):
                policy = None
                next_sweep = loop.time()
                while True:
                    if policy == self._gate.policy:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout_at(next_sweep):
                                await changes.wait()
                                await asyncio.sleep(_GATHER_S)
                    changed = changes.drain()
                    await self._warn((ref for ref in changed if ref.kind == "GitRepo"), warned)
                    await self._note_concerned(changed)
                    if policy != self._gate.policy:
                        policy = self._gate.policy
                        await self._note_all(trigger.ref for kind in TRIGGERS for trigger in self._store.all(kind))
                    if loop.time() >= next_sweep:
                        await self._note_all(self._known_long_ago(self._repaired, _REPAIR_SHOWN_S))
                        await self._note_all(self._known_long_ago(self._earlier, _EARLIER_S))
                        await self._note_all(self._known_of_uids(self._again.due(), self._again.drop))
                        await self._requests.sweep(fence)
                        next_sweep = loop.time() + _PASS_S

    async def _note_all(self, triggers: Iterable[Ref]) -> None:
        """Queue these for their namespace's turn; each is reconciled in its state at that time."""
        for ref in triggers:
            self._note(ref)
            await self._slices.rest()

    def _note(self, ref: Ref) -> None:
        self._waiting.put(ref.namespace, ref)

    async def _reconcile_one(self, ref: Ref, fence: Fence) -> bool:
        """Reconcile a trigger as it is now; False: its status could not be written."""
        trigger = self._store.get(ref)
        if trigger is None:
            self._naming.drop(ref)
            self._known.pop(ref, None)
            return True
        self._naming.put(ref, self._named_by(trigger))
        return await self._reconcile(trigger, fence)

    async def _warn(self, refs: Iterable[Ref], warned: dict[Ref, int]) -> None:
        """Report once for each version of a spec that a GitRepo's Secret namespaces are ignored, as by v0.4."""
        for ref in refs:
            await self._slices.rest()
            source = self._store.get(ref)
            if source is None or source.model is None:
                warned.pop(ref, None)
                continue
            fields = source.model.spec.ignored_namespaces
            if fields and warned.get(ref) != source.generation:
                warned[ref] = source.generation
                note = f"{', '.join(fields)}: ignored; a GitRepo's Secrets are read from its own namespace"
                self._announcer.publish(ref, source.uid, kind="Warning", reason="SecretNamespaceIgnored", note=note)

    async def _note_concerned(self, changed: Iterable[Ref]) -> None:
        """Note the triggers among the changed objects, those that name one of the others, and those of a namespace.

        A change that only records a delivery needs no work.
        """
        for ref in changed:
            await self._slices.rest()
            if ref.kind not in TRIGGERS:
                await self._note_all(self._naming.of((ref,)))
                continue
            one = self._store.get(ref)
            if (
                one is None
                or self._known_of(one).reconciled != reconciled_parts(one.raw, one.generation)
                or wrong_values(one.raw.get("status"), self._now())
            ):
                self._note(ref)

    def _known_of(self, trigger: Snapshot) -> _Known:
        """The known state of a trigger; empty for one that was created under the name of another."""
        known = self._known.get(trigger.ref)
        if known is None or known.uid != trigger.uid:
            known = self._known[trigger.ref] = _Known(uid=trigger.uid)
        return known

    def _named_by(self, trigger: Snapshot) -> list[Ref]:
        """The objects whose change concerns a trigger: its namespace, sources, action, and the action's clone source.

        The cloned source changes only with the action, and that change reconciles the trigger.
        """
        namespace = trigger.ref.namespace
        concerned = [Ref("Namespace", None, namespace or "")]
        if trigger.model is None:
            return concerned
        spec = trigger.model.spec
        action = named(spec.action.kind, namespace, spec.action.name)
        if spec.sources.watch_on.on_delete is not None:
            concerned.append(
                named(spec.sources.watch_on.on_delete.kind, namespace, spec.sources.watch_on.on_delete.name)
            )
        concerned += [action, *(named(spec.sources.kind, namespace, name) for name in spec.sources.names)]
        found = self._store.get(action)
        override = found.model.spec.source_override if found and found.model else None
        return [*concerned, named(override.kind, namespace, override.name)] if override is not None else concerned

    async def _reconcile(self, trigger: Snapshot, fence: Fence) -> bool:
        """Finalizer of v0.4, entries of removed sources, conditions; written only when they change."""
        if self._store.refused(trigger.ref.namespace, trigger.ref.kind):
            self._known_of(trigger).reconciled = None  # not writable; its namespace is noted when it is readable again
            return True
        started = time.monotonic()
        failed = refused = False
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._remove_finalizer(trigger, fence)
            mutations = [*self._mutations(trigger), *self._repairs(trigger)]
            settled = not mutations and not self._unsettled(trigger)
            self._known_of(trigger).reconciled = reconciled_parts(trigger.raw, trigger.generation) if settled else None
            if mutations:
                fence.check()
                async with asyncio.timeout(_WRITE_S):
                    await self._writer.write(trigger.ref, trigger.uid, *mutations)
        except ApiNotFound:
            pass
        except (ApiError, TimeoutError) as error:
            failed = refused = True
            reason = error.reason if isinstance(error, ApiError) else "Timeout"
            log.warning(
                "trigger.failed", **_fields(trigger), error=str(error) or "its status is not written", reason=reason
            )
        except FenceLost:
            raise
        except Exception:  # a bug in the handling of one trigger must not end the others
            failed = refused = True
            log.exception("trigger.crashed", **_fields(trigger))
        if trigger.ref.kind == "ScheduleTrigger" and self._store.get(trigger.ref) is not None:
            self._metrics.reconcile_finished(trigger.ref, time.monotonic() - started, failed=failed)
        return not refused

    def _repairs(self, trigger: Snapshot) -> list[Mutation]:
        """Replace impossible values in the status; the warning about them stays for ten minutes."""
        now, loop_now = self._now(), asyncio.get_running_loop().time()
        found = wrong_values(trigger.raw.get("status"), now)
        if found:
            self._repaired.pop(trigger.uid, None)
            self._repaired[trigger.uid] = loop_now
            note = in_words(found)
            log.warning("status.repaired", **_fields(trigger), error=note)
            self._announcer.publish(trigger.ref, trigger.uid, kind="Warning", reason="StatusRepaired", note=note)
            return [Repair(now=now), Warn(reason="StatusRepaired", source=None, message=note)]
        if loop_now - self._repaired.get(trigger.uid, float("-inf")) < _REPAIR_SHOWN_S:
            return []
        self._repaired.pop(trigger.uid, None)
        over = Warn(reason="StatusRepaired", source=None, message=None)
        return [over] if warning_of(trigger.raw.get("status"), over.reason, None) is not None else []

    def _known_long_ago(self, since: dict[str, float], limit_s: float) -> list[Ref]:
        """The triggers with a message whose display time is over."""
        now = asyncio.get_running_loop().time()
        return self._known_of_uids([uid for uid, at in since.items() if now - at >= limit_s], since.pop)

    def _known_of_uids(self, uids: Iterable[str], drop: Callable[[str], object]) -> list[Ref]:
        """The triggers that exist; the others are dropped."""
        found = []
        for uid in uids:
            trigger = self._store.trigger(uid)
            if trigger is None:
                drop(uid)
            else:
                found.append(trigger.ref)
        return found

    def _mutations(self, trigger: Snapshot) -> list[Mutation]:
        status = trigger.raw.get("status") or {}
        now = rfc3339(self._now())
        if earlier_sources(status):
            self._earlier.setdefault(trigger.uid, asyncio.get_running_loop().time())
        else:
            self._earlier.pop(trigger.uid, None)

        def report(source: str | None, problem: Problem | None) -> Report:
            return Report(source=source, problem=problem, generation=trigger.generation, now=now)

        wanted: list[Mutation] = []
        if trigger.model is None:
            wanted.append(report(None, Problem(reason="InvalidSpec", message=str(trigger.invalid), stalled=True)))
        else:
            problem = self._wrong_spec(trigger.model)
            wanted.append(report(None, problem))
            wanted += open_webhook(trigger.model.spec)
            names, references = list(trigger.model.spec.sources.names), trigger.model.spec.sources.watch_on.references
            wanted += full_warnings(status, names, references)
            named = frozenset(names)
            resolved = {name: self._resolved(trigger.model, name) for name in names if problem is None}
            wrong = {name: found for name, found in resolved.items() if isinstance(found, Problem)}
            wanted += [report(name, found) for name, found in wrong.items()]
            over = sorted(self._over(trigger, frozenset(wrong)))
            wanted += [report(name, None) for name in over[:_CLEARED_AT_ONCE]]
            stale = warnings_of_removed(status, named)
            wanted += [Warn(reason=one.reason, source=one.source, message=None) for one in stale[:_CLEARED_AT_ONCE]]
            if not self._unsettled(trigger):
                watched = watched_by(trigger.raw.get("spec"))
                keep = kept_keys(status, names, watched, self._now())
                wanted.append(Prune(keep=keep, now=self._now()))
                idle = idle_of(status, names, references, self._now())
                wanted += idle.mutations
                self._again.put(trigger.uid, [*idle.delays, *prune_delays(status, keep, self._now())])
            if is_shown(status):
                suspended = trigger.model.spec.suspend
                wanted.append(ShowWaiting(generation=trigger.generation, now=now, suspended=suspended))
        return wanted if Outcome.WRITE in combine(status, wanted, sources=names_in_spec(trigger.raw))[1] else []

    def _resolved(self, trigger: Any, source: str) -> Resolved | Problem:
        """The needs of runs of a source; also of runs for deleted references."""
        found = self._gate.resolve(trigger, source)
        if isinstance(found, Problem) or trigger.spec.sources.watch_on.on_delete is None:
            return found
        return self._gate.resolve(trigger, source, deleted=True)

    def _unsettled(self, trigger: Snapshot) -> bool:
        """Whether a Job is or may be above the record: then no entry may be removed."""
        if self._store.refused(trigger.ref.namespace, "Job"):
            return True
        status, jobs = trigger.raw.get("status"), runs_of(trigger, self._store.jobs_of(trigger.uid))
        return any(job.model.run.number > entry_of(status, job.model.run.source).runs for job in jobs)

    def _over(self, trigger: Snapshot, wrong: frozenset[str]) -> frozenset[str]:
        """The sources whose recorded problems are over; `wrong` are those that have a problem now.

        Problems found here end here. Problems found by a check (a refused host key) are left to the next check,
        unless the spec has changed or leadership begins: then their origin is unknown.
        """
        problems = source_problems(trigger.raw.get("status"))
        known = self._known_of(trigger)
        stalled = frozenset(name for name, problem in problems.items() if problem.stalled)
        mine = stalled if known.generation != trigger.generation else stalled & known.wrong
        known.generation, known.wrong = trigger.generation, wrong | mine  # also until the write of their end succeeded
        refused = frozenset(name for name, problem in problems.items() if problem.reason == "NamespaceRefused")
        over = frozenset(name for name in problems if not is_watched(trigger, name))
        return (over | mine | refused) - wrong

    def _wrong_spec(self, model: Any) -> Problem | None:
        """Problems that the API server cannot validate: the schedule's meaning and the patterns' limits."""
        try:
            schedule = model.spec.schedule
            if schedule is not None:
                found = self._gate.schedule_of(model.ref.namespace or "", schedule.interval, schedule.cron)
                if isinstance(found, Problem):
                    return found
            waits = self._gate.waits_of(model)
            if isinstance(waits, Problem):
                return waits
            close_after(model.spec.sources.watch_on.references)
            files = model.spec.sources.watch_on.files
            if files:
                patterns.check(files)
        except InvalidObject as error:
            return Problem(reason="InvalidSpec", message=str(error), stalled=True)
        return None

    async def _remove_finalizer(self, trigger: Snapshot, fence: Fence) -> None:
        """Remove the finalizer that v0.4 put on ScheduleTriggers; no other controller would remove it."""
        patch = without_finalizer(trigger.raw)
        if patch is None:
            return
        fence.check()
        self._store.observe(await self._api.patch(trigger.ref, patch))
        log.info("finalizer.removed", **_fields(trigger))


def _fields(trigger: Snapshot) -> dict[str, Any]:
    return {"kind": trigger.ref.kind, "namespace": trigger.ref.namespace, "name": trigger.ref.name}
