"""One check of one source: read, query git, decide, run or skip (ARCHITECTURE.md, "The run ledger", steps 1 to 7)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeReader
from git_events_runner.errors import (
    ApiError,
    ApiNotFound,
    FenceLost,
    GitError,
    GitHostKeyRefused,
    InvalidObject,
    SecretUnusable,
)
from git_events_runner.flow.ports import DeferringStatusWriter, PolicyGate
from git_events_runner.resources.job import JobView, timestamp
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.annotated import last_run_token
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.decision import (
    CheckSpec,
    Head,
    NoRun,
    Nothing,
    Observation,
    Observe,
    Requests,
    StartRun,
    Wait,
    decide,
    occurrence_of,
)
from git_events_runner.rules.identity import is_watched, runs_of
from git_events_runner.rules.ledger.deliveries import last_deliveries
from git_events_runner.rules.ledger.entry import Entry, entry_of
from git_events_runner.rules.ledger.mutations import Outcome, Settle, rfc3339
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.messages import CheckRequest, Requeue, RunOrder, RunResult
from git_events_runner.rules.reference_entries import Listed, WatchOne
from git_events_runner.rules.references import is_pull, key_of, reference_of, source_of
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.waits import last_start
from git_events_runner.telemetry.metrics import Metrics

from .lists import ReferenceLists
from .observer import Case, Observed, Observer
from .ports import Files, Git, Handled, Runs, Waits
from .problems import Problems, log_fields
from .skips import Skips
from .turns import Turns

log = structlog.get_logger(target="checks")

_MISSING = frozenset(("SourceNotFound", "ActionNotFound"))
_RESTARTS = 25
_WEBHOOK_RETRY_S = 30.0
_POLL_AGAIN_S = 2.0


class Checks:
    """Checks sources. `check` raises only when cancelled: failures are in the status, log and metrics."""

    def __init__(
        self,
        *,
        store: Store,
        gate: PolicyGate,
        reader: KubeReader,
        git: Git,
        files: Files,
        writer: DeferringStatusWriter,
        runs: Runs,
        handled: Handled,
        waits: Waits,
        submit: Callable[[CheckRequest], None],
        missed: Callable[[CheckRequest, str], None],
        decided: Callable[[CheckRequest, CheckResult, Requeue | None], None],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`missed` gets each poll with a new commit of a trigger that gets deliveries too, `decided` each result."""
        self._submit = submit
        self._missed = missed
        self._decided = decided
        self._store = store
        self._gate = gate
        self._reader = reader
        self._git = git
        self._observer = Observer(git=git, files=files, now=now)
        self._writer = writer
        self._runs = runs
        self._waits = waits
        self._turns = Turns()
        self._problems = Problems(store=store, writer=writer, metrics=metrics, now=now)
        self._skips = Skips(writer=writer, handled=handled, submit=submit, now=now)
        self._lists = ReferenceLists(
            store=store, git=git, files=files, writer=writer, skips=self._skips, check=self._complete, now=now
        )
        self._metrics = metrics
        self._now = now
        self._log = log.bind()  # once: most checks have one event, which is seldom written

    async def check(self, request: CheckRequest) -> Requeue | None:
        """Check once, to the end; None when the occurrence is handled, else when to check again."""
        return (await self._complete(request))[1]

    async def _complete(self, request: CheckRequest) -> tuple[CheckResult, Requeue | None]:
        """The result of a check, and when to check again."""
        started = time.monotonic()
        if request.due_at is not None and not request.retry:
            due = request.scheduled or timestamp(request.due_at)
            self._metrics.check_started((self._now() - due).total_seconds() if due else 0.0)
        result, again = CheckResult.DROPPED, None
        try:
            for attempt in range(_RESTARTS):
                result, again = await self._attempt(request)
                if result is not CheckResult.RESTART:
                    break
                await self._reread(request, attempt)
            else:
                again = Requeue()
        except FenceLost:
            result = CheckResult.FENCE_LOST
            if request.tasks:  # this replica handles what it recorded, leader or not
                self._submit(replace(request, due_at=None, fence=None))
        except (GitError, SecretUnusable) as error:
            result, again = CheckResult.GIT_FAILED, self._git_failed(request, error)
            act = isinstance(error, GitHostKeyRefused)
            again = await self._problems.report(
                request, Problem(reason=error.reason, message=str(error), stalled=act), again
            )
        except ApiError as error:
            if isinstance(error, ApiNotFound) and not self._exists(request):
                result, again = CheckResult.DROPPED, None
            else:  # also if something else is missing for a moment: the occurrence is still open
                result, again = CheckResult.API_FAILED, self._limited(request, None)
                reason = error.reason or "ApiUnavailable"
                log.warning("check.failed", **log_fields(request), error=str(error), reason=reason)
        except Exception:  # a bug in one check must not end the others
            result, again = CheckResult.CRASHED, self._limited(request, None)
            log.exception("check.crashed", **log_fields(request))
        self._finished(request, result, time.monotonic() - started)
        self._decided(request, result, again)
        return result, again

    def _finished(self, request: CheckRequest, result: CheckResult, seconds: float) -> None:
        if self._store.get(request.trigger) is not None:  # series of a trigger deleted meanwhile would stay
            self._metrics.check_finished(request.trigger, seconds, result.value)
        fields = log_fields(request) | {"task": request.tasks[0] if request.tasks else None}
        self._log.debug("check.finished", **fields, verdict=result.value, seconds=round(seconds, 4))

    async def _attempt(self, request: CheckRequest) -> tuple[CheckResult, Requeue | None]:
        """One pass over the steps: its result (RESTART: begin again), and when to check again."""
        snapshot = self._store.get(request.trigger)
        if snapshot is None or snapshot.uid != request.uid:
            return CheckResult.DROPPED, None
        entry = entry_of(snapshot.raw.get("status"), request.source)
        if await self._settle_first(request, snapshot, entry):  # independent of the spec: it must be recorded
            return CheckResult.RESTART, None
        if request.fence:
            request.fence.check()
        if snapshot.model is None:
            problem = Problem(reason="InvalidSpec", message=str(snapshot.invalid), stalled=True)
            return CheckResult.INVALID, await self._problems.report_trigger(request, snapshot, problem)
        if not is_watched(snapshot, request.source):
            return CheckResult.DROPPED, None
        if await self._watches_one(request, snapshot):
            return CheckResult.RESTART, None
        waits = self._gate.waits_of(snapshot.model)
        if isinstance(waits, Problem):
            return CheckResult.WRONG_CONFIG, await self._problems.report_trigger(request, snapshot, waits)
        occurrence = occurrence_of(timestamp(request.due_at), entry, listed=request.listed)
        poll_follows = request.due_at is not None and isinstance(occurrence, Requests)
        case = Case(
            request=replace(request, due_at=None, retry=True) if poll_follows else request,
            trigger=snapshot,
            entry=self._of_repository(snapshot, request.source, entry),
            occurrence=occurrence,
            spec=CheckSpec.of(snapshot.model, request.source, waits),
        )
        lists = snapshot.model.spec.sources.watch_on.references is not None and reference_of(request.source) is None
        result, again = await (self._list(case) if lists else self._check(case))
        if again is not None and again.until is not None and not request.listed:  # else the list waits for it
            self._waits.put(request, again.until, result)
            return result, None
        self._waits.end(request)
        if poll_follows and again is None and result is not CheckResult.SUSPENDED:
            again = Requeue() if result is CheckResult.WRONG_CONFIG else Requeue(after_s=_POLL_AGAIN_S, failed=False)
        return result, again

    def _of_repository(self, trigger: Snapshot, key: str, entry: Entry) -> Entry:
        """The entry without the record of a pull request that was delivered about another repository."""
        if entry.pull is None:
            return entry
        found = self._store.get(named(trigger.model.spec.sources.kind, trigger.ref.namespace, source_of(key)))
        if found is None or found.model is None or entry.pull.is_of(found.model.spec.repo_uri):
            return entry
        return replace(entry, pull=None)

    async def _check(self, case: Case) -> tuple[CheckResult, Requeue | None]:
        """Observe until the decision is complete, then apply it."""
        found = await self._decide(case)
        if isinstance(found, Problem):
            return await self._wrong_config(case, found)
        decision, observed, resolved = found
        match decision:
            case Nothing():
                return decision.result, None
            case Wait():
                if await self._skips.hold(case.request, case.trigger, decision) is Outcome.STALE:
                    return CheckResult.RESTART, None
                return decision.result, Requeue(after_s=decision.after_s, failed=False, until=decision.until)
            case NoRun():
                if await self._skips.write(case.request, case.trigger, decision) is Outcome.STALE:
                    return CheckResult.RESTART, None
            case StartRun() if resolved is not None:
                ended = await self._start_run(case, resolved, observed, decision)
                if ended is not None:
                    return ended
        if resolved is not None:
            await self._observer.warn(case, resolved, observed.observation)
        again_s = decision.again_s
        return decision.result, None if again_s is None else Requeue(after_s=again_s, failed=False)

    async def _list(self, case: Case) -> tuple[CheckResult, Requeue | None]:
        """Check all references of a source."""
        if case.spec.suspend:
            return CheckResult.SUSPENDED, None
        if self._lists.is_handled(case):
            return CheckResult.SKIP_ANSWERED, None
        resolved = self._gate.resolve(case.trigger.model, case.request.source)
        if isinstance(resolved, Problem):
            return await self._wrong_config(case, resolved)
        return await self._lists.check_list(case, resolved)

    async def _watches_one(self, request: CheckRequest, trigger: Snapshot) -> bool:
        """Let the entry of a source that had patterns continue that of the single reference; whether it was needed."""
        watch = trigger.model.spec.sources.watch_on
        if watch.references is not None or Listed.of(trigger.raw.get("status"), request.source).at is None:
            return False
        one = WatchOne(source=request.source, key=key_of(request.source, watch.reference.full_name))
        await self._writer.write(request.trigger, request.uid, one)
        return True

    async def _decide(
        self, case: Case
    ) -> tuple[Nothing | Wait | NoRun | StartRun, Observed, Resolved | None] | Problem:
        """The decision and its observation, or what has to be changed first."""
        observed = Observed(Observation(now=self._now()), asyncio.get_running_loop().time())
        resolved: Resolved | None = None
        if is_pull(case.request.source) and case.entry.commit is not None:  # its closing runs without a request to git
            known = self._gate.resolve(case.trigger.model, case.request.source)
            if isinstance(known, Problem):
                return known
            resolved = known
        while isinstance(decision := decide(case.entry, case.occurrence, observed.observation, case.spec), Observe):
            found = resolved or self._gate.resolve(case.trigger.model, case.request.source)
            if isinstance(found, Problem):
                return found
            resolved = found
            try:
                observed = await self._observer.observe(case, resolved, observed, decision)
            except InvalidObject as error:
                return Problem(reason="InvalidSpec", message=str(error), stalled=True)
            observed.observation = self._timed(case, observed.observation)
        return decision, observed, resolved

    def _timed(self, case: Case, observation: Observation) -> Observation:
        """Add what makes a change wait at that time, if anything does."""
        waits, head, now = case.spec.waits, observation.head, observation.now
        if waits is None or not isinstance(head, Head):
            return observation
        if case.spec.on_change_only and head.commit == case.entry.commit:
            return observation  # nothing can wait
        started = None if waits.cooldown is None else last_start(case.entry, self._last_job(case), now)
        return replace(observation, closed_until=self._gate.closed_until(case.trigger.model), last_start=started)

    def _last_job(self, case: Case) -> JobView | None:
        """The Job of the source's last run, if it exists."""
        name = case.entry.job_name
        found = self._store.get(Ref("Job", case.request.trigger.namespace, name)) if name else None
        return found.model if found is not None else None

    async def _wrong_config(self, case: Case, problem: Problem) -> tuple[CheckResult, Requeue | None]:
        """Report what has to be changed first.

        A scheduled time waits for what is missing (the next one may be a day away). So does a request for half a minute
        (a deleted object may be re-created immediately); then the leader's sweep handles it.
        """
        request = case.request
        brief = problem.reason in _MISSING and not request.fence
        later = Requeue() if request.due_at else self._limited(request, None) if brief else None
        return CheckResult.WRONG_CONFIG, await self._problems.report(request, problem, later)

    async def _start_run(
        self, case: Case, resolved: Resolved, observed: Observed, decided: StartRun
    ) -> tuple[CheckResult, Requeue | None] | None:
        """Create the Job and settle it; None: done, else the result of the check."""
        request, status = case.request, case.trigger.raw.get("status")
        if decided.result is CheckResult.FIRE_DELETED:
            found = self._gate.resolve(case.trigger.model, request.source, deleted=True)
            if isinstance(found, Problem):
                return await self._wrong_config(case, found)
            resolved = found
        if resolved.override:
            other = resolved.cloned
            await self._git.learn_host_key(resolved.cloned_model, case.namespace, other.ref_type, other.ref_name)
        order = RunOrder(
            trigger=request.trigger,
            uid=request.uid,
            generation=case.trigger.generation,
            entry=case.entry,
            source=request.source,
            resolved=resolved,
            commit=decided.commit,
            file_hash=decided.file_hash,
            reason=decided.result.value,
            request=decided.request,
            due_at=rfc3339(decided.due_at) if decided.due_at else None,
            sent_at=observed.sent_at,
            tasks=request.tasks,
            deliveries=_unknown_deliveries(case),
            fence=request.fence,
            author=decided.text.author if decided.text else None,
            subject=decided.text.subject if decided.text else None,
            run_request=decided.run_request,
            run_token=last_run_token(status) if decided.run_request is not None else None,
        )
        async with contextlib.nullcontext() if request.listed else self._turns.turn(request.uid):
            result = await self._runs.make(order)
        if isinstance(result, Problem):
            again = await self._problems.report(request, result, self._limited(request, None))
            return CheckResult.REFUSED, again
        if result is not RunResult.SETTLED:
            return (CheckResult.RESTART if result is RunResult.RESTART else CheckResult.DROPPED), None
        if request.due_at and decided.result is CheckResult.FIRE_CHANGED and request.called:
            self._missed(request, decided.commit)
        return None

    async def _settle_first(self, request: CheckRequest, trigger: Snapshot, entry: Entry) -> bool:
        """Settle the highest run above the record, if one is known and its Job exists in a live read.

        An etcd restored from a snapshot has neither the Job nor its run: the run is then created again.
        """
        best: tuple[int, Settle, Snapshot] | None = None
        for job in runs_of(trigger, self._store.jobs_of(request.uid, request.source)):
            number = job.model.run.number
            settle = Settle.from_job(job.ref.name, job.model, now=self._now()) if number > entry.runs else None
            if settle and (best is None or number > best[0]):
                best = (number, settle, job)
        if best is None:
            return False
        known = best[2]
        try:
            found = await self._reader.get(known.ref)
        except ApiNotFound:
            found = None
        if found is None or found["metadata"].get("uid") != known.uid:
            self._store.confirm_deleted(known.ref, known.uid)
            return True
        await self._writer.write(request.trigger, request.uid, best[1])
        return True

    def _exists(self, request: CheckRequest) -> bool:
        """Whether the trigger is known."""
        snapshot = self._store.get(request.trigger)
        return snapshot is not None and snapshot.uid == request.uid

    async def _reread(self, request: CheckRequest, attempt: int) -> None:
        """A restart reads the trigger live, after a back-off."""
        if attempt:
            await asyncio.sleep(random.uniform(0, min(0.01 * 2**attempt, 1.0)))  # noqa: S311  jitter, not a secret
        self._store.observe(await self._reader.get(request.trigger))

    def _git_failed(self, request: CheckRequest, error: GitError | SecretUnusable) -> Requeue:
        return self._limited(request, (error.retry_after_s or None) if isinstance(error, GitError) else None)

    def _limited(self, request: CheckRequest, after_s: float | None) -> Requeue:
        """A replica that is not the leader retries for a while; then the leader's sweep takes the request over."""
        return Requeue(after_s=after_s, limit_s=None if request.fence else _WEBHOOK_RETRY_S)


def _unknown_deliveries(case: Case) -> str:
    """Hashes of the handled requests that another replica recorded, whose tasks this replica does not know."""
    open_requests = case.entry.requested - case.entry.handled
    if case.request.due_at or open_requests <= len(case.request.tasks):
        return ""
    return last_deliveries(case.trigger.raw.get("status"), open_requests)
