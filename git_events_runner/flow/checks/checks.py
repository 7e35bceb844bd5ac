"""One check of one source: read, ask git, decide, and run or skip (ARCHITECTURE.md, "The run ledger", steps 1 to 7)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import (
    ApiError,
    ApiNotFound,
    FenceLost,
    GitError,
    GitHostKeyRefused,
    InvalidObject,
    SecretUnusable,
)
from git_events_runner.resources.job import timestamp
from git_events_runner.rules.annotated import last_run_token
from git_events_runner.rules.change import (
    Look,
    Verdict,
    announced_unseen,
    announced_wait_s,
    answered,
    decide,
    needs_trees,
)
from git_events_runner.rules.identity import runs_of
from git_events_runner.rules.ledger import (
    Entry,
    Settle,
    entry_of,
    last_deliveries,
)
from git_events_runner.rules.messages import Again, CheckRequest, Made, RunOrder, Unchanged
from git_events_runner.rules.report import Problem
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.selection import Selection
from git_events_runner.telemetry import Metrics

from .ports import Files, Gate, Git, Handled, Reader, Runs, Writer
from .problems import Problems, log_fields
from .skips import Skips

log = structlog.get_logger(target="checks")

_MISSING = frozenset(("SourceNotFound", "ActionNotFound"))
_RESTARTS = 25
_WEBHOOK_RETRY_S = 30.0
_POLL_AGAIN_S = 2.0


class Checks:
    """Looks at sources. `check` never raises but when cancelled: what went wrong is in the status, log and metrics."""

    def __init__(
        self,
        *,
        store: Store,
        gate: Gate,
        reader: Reader,
        git: Git,
        files: Files,
        writer: Writer,
        runs: Runs,
        handled: Handled,
        submit: Callable[[CheckRequest], None],
        missed: Callable[[CheckRequest, str], None],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """`missed` is told of a poll that found a new commit for a trigger that is also called."""
        self._submit = submit
        self._missed = missed
        self._files = files
        self._store = store
        self._gate = gate
        self._reader = reader
        self._git = git
        self._writer = writer
        self._runs = runs
        self._problems = Problems(store=store, writer=writer, metrics=metrics, now=now)
        self._skips = Skips(writer=writer, handled=handled, submit=submit, now=now)
        self._metrics = metrics
        self._now = now

    async def check(self, request: CheckRequest) -> Again | None:
        """Look once, to the end; None when the occurrence is answered, else when to look again."""
        started = time.monotonic()
        if request.due_at is not None and not request.retry:
            due = request.scheduled or timestamp(request.due_at)
            self._metrics.check_started((self._now() - due).total_seconds() if due else 0.0)
        verdict, again = "dropped", None
        try:
            for attempt in range(_RESTARTS):
                verdict, again = await self._attempt(request)
                if verdict != "restart":
                    break
                await self._reread(request, attempt)
            else:
                again = Again()
        except FenceLost:
            verdict = "fence-lost"
            if request.tasks:  # what was counted here is this replica's to answer, leader or not
                self._submit(replace(request, due_at=None, fence=None))
        except (GitError, SecretUnusable) as error:
            verdict, again = "git-failed", self._git_failed(request, error)
            act = isinstance(error, GitHostKeyRefused)
            again = await self._problems.report(
                request, Problem(reason=error.reason, message=str(error), stalled=act), again
            )
        except ApiError as error:
            if isinstance(error, ApiNotFound) and not self._exists(request):
                verdict, again = "dropped", None
            else:  # also when something else is missing for a moment: the occurrence is still to be handled
                verdict, again = "api-failed", self._limited(request, None)
                reason = error.reason or "ApiUnavailable"
                log.warning("check.failed", **log_fields(request), error=str(error), reason=reason)
        except Exception:  # the border of one check: a bug in it must not end the others
            verdict, again = "crashed", self._limited(request, None)
            log.exception("check.crashed", **log_fields(request))
        self._finished(request, verdict, time.monotonic() - started)
        return again

    def _finished(self, request: CheckRequest, verdict: str, seconds: float) -> None:
        if self._store.get(request.trigger) is not None:  # series of a trigger that went meanwhile would stay
            self._metrics.check_finished(request.trigger, seconds, verdict)
        task = request.tasks[0] if request.tasks else None
        log.debug("check.finished", **log_fields(request), verdict=verdict, seconds=round(seconds, 4), task=task)

    async def _attempt(self, request: CheckRequest) -> tuple[str, Again | None]:
        """One pass over the steps: a verdict ("restart": begin again), and when to look again."""
        snapshot = self._store.get(request.trigger)
        if snapshot is None or snapshot.uid != request.uid:
            return "dropped", None
        entry = entry_of(snapshot.raw.get("status"), request.source)
        if await self._settle_first(request, snapshot, entry):  # whatever the spec says now: it must not go unrecorded
            return "restart", None
        if request.fence:
            request.fence.check()
        if snapshot.model is None:
            problem = Problem(reason="InvalidSpec", message=str(snapshot.invalid), stalled=True)
            return "invalid", await self._problems.report_trigger(request, snapshot, problem)
        trigger = snapshot.model
        if request.source not in trigger.spec.sources.names:
            return "dropped", None
        if trigger.spec.suspend and not entry.run_is_due:
            return "suspended", None
        if request.due_at and entry.is_open:  # what was asked for first; it may answer the poll too
            verdict, again = await self._attempt_request(replace(request, due_at=None, retry=True), snapshot, entry)
            poll = Again() if verdict == "wrong-config" else Again(after_s=_POLL_AGAIN_S, failed=False)
            return verdict, again or poll
        return await self._attempt_request(request, snapshot, entry)

    async def _attempt_request(
        self, request: CheckRequest, snapshot: Snapshot, entry: Entry
    ) -> tuple[str, Again | None]:
        trigger = snapshot.model
        look = Look(due_at=request.due_at)
        on_change_only = trigger.spec.sources.watch_on.on_change_only
        if answered(entry, look, on_change_only=on_change_only, now=self._now(), called=request.called):
            return Verdict.SKIP_ANSWERED, None
        resolved = self._gate.resolve(trigger, request.source)
        if isinstance(resolved, Problem):
            # A due time waits for what is missing (the next one may be a day away). So does a request for half a minute
            # (what is deleted may be created again just now), then it is left to the leader's sweep.
            brief = resolved.reason in _MISSING and not request.fence
            later = Again() if request.due_at else self._limited(request, None) if brief else None
            return "wrong-config", await self._problems.report(request, resolved, later)
        return await self._ask(request, snapshot, entry, look, resolved)

    async def _ask(
        self, request: CheckRequest, snapshot: Snapshot, entry: Entry, look: Look, resolved: Resolved
    ) -> tuple[str, Again | None]:
        watch = snapshot.model.spec.sources.watch_on
        namespace = request.trigger.namespace or ""
        watched = resolved.watched
        urgent = request.due_at is None and not request.retry
        answer = await self._git.commit_of(
            resolved.watched_model,
            namespace,
            watched.ref_type,
            watched.ref_name,
            urgent=urgent,
            unchanged=_unchanged(request, entry) if watch.on_change_only else None,
        )
        on_change, patterns = watch.on_change_only, tuple(watch.files or ())
        chosen: Selection | None = None
        if needs_trees(entry, answer.commit, answer.tag_object, on_change_only=on_change, patterns=bool(patterns)):
            try:
                chosen = await self._files.compare(
                    resolved.watched_model, namespace, patterns, answer.commit, entry.commit or ""
                )
            except InvalidObject as error:
                problem = Problem(reason="InvalidSpec", message=str(error), stalled=True)
                return "wrong-config", await self._problems.report(
                    request, problem, Again() if request.due_at else None
                )
        asked_at = self._now() - timedelta(seconds=asyncio.get_running_loop().time() - answer.sent_at)
        verdict = decide(
            entry,
            answer.commit,
            tag_object=answer.tag_object,
            on_change_only=on_change,
            look=look,
            files_same=chosen.same if chosen else None,
            asked_at=asked_at,
            record_first=snapshot.model.spec.first_check == "Record"
            and (request.due_at is not None or not request.called),
        )
        file_hash = chosen.digest if chosen else None
        warn = partial(
            self._files.warn,
            request,
            resolved.watched_model,
            patterns if on_change else (),
            answer.commit,
            first=entry.commit is None,
            found=chosen,
        )
        unseen = announced_unseen(entry, answer.commit, answer.tag_object, asked_at)
        later = Again(after_s=announced_wait_s(entry, asked_at), failed=False) if unseen else None
        if verdict is Verdict.WAIT_ANNOUNCED:
            return verdict, later
        upto = entry.requested - int(unseen)
        if not verdict.fires:
            found, again = await self._skips.write(request, snapshot, entry, verdict, answer.commit, file_hash, upto)
            await warn()
            return found, again or later
        if resolved.override:
            other = resolved.cloned
            await self._git.meet(resolved.cloned_model, namespace, other.ref_type, other.ref_name)
        by_annotation = verdict is Verdict.FIRE_REQUESTED
        one_each = not on_change and request.due_at is None
        order = RunOrder(
            trigger=request.trigger,
            uid=request.uid,
            generation=snapshot.generation,
            entry=entry,
            source=request.source,
            resolved=resolved,
            commit=answer.commit,
            file_hash=file_hash,
            reason=verdict.value,
            request=None if request.due_at else entry.handled + int(not by_annotation) if one_each else upto,
            due_at=request.due_at,
            asked_at=answer.sent_at,
            tasks=request.tasks,
            deliveries=_unknown_deliveries(snapshot, request, entry),
            fence=request.fence,
            run_request=entry.run_requested if by_annotation else None,
            run_token=last_run_token(snapshot.raw.get("status")) if by_annotation else None,
        )
        made = await self._runs.make(order)
        if isinstance(made, Problem):
            return "refused", await self._problems.report(request, made, self._limited(request, None))
        if made is Made.RESTART:
            return "restart", None
        if made is Made.DROPPED:
            return "dropped", None
        if request.due_at and verdict is Verdict.FIRE_CHANGED and request.called:
            self._missed(request, answer.commit)
        await warn()
        more = one_each and order.request != entry.requested
        return verdict, Again(after_s=0.0, failed=False) if more else later

    async def _settle_first(self, request: CheckRequest, trigger: Snapshot, entry: Entry) -> bool:
        """Settle the highest run above the record, if any is known and its Job exists, live.

        An etcd that was restored from a snapshot has neither the Job nor its run, which then has to be made again.
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

    def _git_failed(self, request: CheckRequest, error: GitError | SecretUnusable) -> Again:
        after_s = (error.retry_after_s or None) if isinstance(error, GitError) else None
        return self._limited(request, after_s)

    def _limited(self, request: CheckRequest, after_s: float | None) -> Again:
        """Who does not lead tries for a while; then the leader's sweep takes the request over."""
        return Again(after_s=after_s, limit_s=None if request.fence else _WEBHOOK_RETRY_S)


def _unchanged(request: CheckRequest, entry: Entry) -> Unchanged | None:
    """Which answer to another check answers a scheduled one: nothing new, sent after the scheduled time."""
    if not request.polls or not request.due_at or request.scheduled is None:
        return None
    if entry.commit is None or entry.adopted or entry.is_open:
        return None
    return Unchanged(since=request.scheduled, commit=entry.commit)


def _unknown_deliveries(snapshot: Snapshot, request: CheckRequest, entry: Entry) -> str:
    """Hashes of the requests that this look answers though their task ids are not known here (another counted them)."""
    open_requests = entry.requested - entry.handled
    if request.due_at or open_requests <= len(request.tasks):
        return ""
    return last_deliveries(snapshot.raw.get("status"), open_requests)
