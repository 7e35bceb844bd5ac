"""One check of all references of a source: list them, check those that differ, record the rest.

The source's own requests and scheduled times are handled when every reference is as recorded: a list interrupted by a
crash is repeated. Each reference that differs gets a check of its own, with a new request for its commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import GitReferenceNotFound
from git_events_runner.flow.ports import StatusWriter
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.decision import NoRun, is_handled
from git_events_runner.rules.identity import runs_of
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Mutation, Outcome, Skip, rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import Report, Warn
from git_events_runner.rules.messages import CheckRequest, Requeue
from git_events_runner.rules.problems import is_same_warning, warning_of
from git_events_runner.rules.reference_entries import Listed, ListReferences, listed_keys, recorded_of
from git_events_runner.rules.reference_plan import Plan, Shown, plan
from git_events_runner.rules.references import Watched, full_name_of, source_of
from git_events_runner.rules.resolve import Resolved

from .observer import Case
from .ports import Files, Git
from .skips import Skips

TOO_MANY = "TooManyReferences"
_AT_ONCE = 8
# Results without a later check, and without what the reference needs: the cause of the list is not handled.
_NOT_DONE = frozenset((CheckResult.WRONG_CONFIG, CheckResult.INVALID, CheckResult.SUSPENDED, CheckResult.FENCE_LOST))

Ended = tuple[CheckResult, Requeue | None]


class ReferenceLists:
    """Checks sources whose references are watched by patterns."""

    def __init__(
        self,
        *,
        store: Store,
        git: Git,
        files: Files,
        writer: StatusWriter,
        skips: Skips,
        check: Callable[[CheckRequest], Awaitable[Ended]],
        now: Callable[[], datetime],
    ) -> None:
        """`check` is the check of one reference."""
        self._store = store
        self._git = git
        self._files = files
        self._writer = writer
        self._skips = skips
        self._check = check
        self._now = now

    def is_handled(self, case: Case) -> bool:
        """Whether an earlier list handled the cause of this one; False for the first list."""
        listed = Listed.of(case.trigger.raw.get("status"), case.request.source)
        return listed.at is not None and is_handled(case.entry, case.occurrence, case.spec, self._now())

    async def check_list(self, case: Case, resolved: Resolved) -> Ended:
        """List the references, check those that differ, and record the rest.

        Raises:
            GitError: There is no complete list, or one of a repository that shows nothing at all.
            SecretUnusable: There is no credential for the request.
            ApiError: The record could not be written.
        """
        request, source = case.request, case.request.source
        status = case.trigger.raw.get("status") or {}
        watched = Watched.of(case.trigger.model.spec.sources.watch_on.references)
        urgent = not request.due_at and not request.retry
        shown: Shown = {}
        if watched.prefixes:  # pull requests alone are never listed
            names = watched.prefixes
            answer = await self._git.references_of(resolved.watched_model, case.namespace, names, urgent=urgent)
            if not answer.alive:
                raise GitReferenceNotFound(f"{resolved.watched.source} shows no reference at all; push a branch to it")
            shown = await self._files.selected(watched, answer.refs, case.namespace)
        listed = Listed.of(status, source)
        keys = [key for key in listed_keys(status, source) if watched.selects(full_name_of(key))]
        entries = recorded_of(status, keys)
        found = plan(source, watched, shown, entries, listed, record=case.trigger.model.spec.records_first)
        if listed.at is None and (found.recorded or not found.checks):  # what exists now never runs
            await self._record(case, found, watched)
        repeats = await self._check_all(request, [*found.checks, *self._unsettled(case.trigger, source, found.checks)])
        if repeats:
            return _together(repeats, request, self._now())
        return await self._finish(case, found, watched)

    async def _check_all(self, request: CheckRequest, keys: Sequence[str]) -> list[Ended]:
        """Check these references, a few at a time; the results of those that did not complete."""
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str) -> Ended:
            mine = replace(request, source=key, due_at=None, scheduled=None, polls=False, listed=True)
            async with at_once:
                return await self._check(mine)

        ended = await asyncio.gather(*map(one, keys))
        return [(result, again) for result, again in ended if again is not None or result in _NOT_DONE]

    def _unsettled(self, trigger: Snapshot, source: str, checked: Sequence[str]) -> list[str]:
        """The other references with a Job that is not recorded yet: its check records it first."""
        status, found = trigger.raw.get("status"), set()
        for job in runs_of(trigger, self._store.jobs_of(trigger.uid)):
            run = job.model.run
            mine = run.source != source and source_of(run.source) == source
            if mine and run.number > entry_of(status, run.source).runs:
                found.add(run.source)
        return sorted(found.difference(checked))

    async def _record(self, case: Case, found: Plan, watched: Watched) -> None:
        if case.request.fence:
            case.request.fence.check()
        mutation = self._mutation(case, found, watched, after_checks=False)
        await self._writer.write(case.request.trigger, case.request.uid, mutation)

    async def _finish(self, case: Case, found: Plan, watched: Watched) -> Ended:
        """Every reference is as recorded: the cause of the list is handled."""
        request = case.request
        current = self._store.get(request.trigger)
        if current is None or current.uid != request.uid:
            return CheckResult.DROPPED, None
        status, now = current.raw.get("status") or {}, rfc3339(self._now())
        mutations: list[Mutation] = [self._mutation(case, found, watched, after_checks=True)]
        if combine(status, mutations)[1] == [Outcome.DONE]:
            mutations.clear()
        before = entry_of(status, request.source)
        upto = min(case.entry.requested, before.requested)
        if upto > before.handled:
            mutations.append(
                Skip(
                    source=request.source,
                    expected=before.key,
                    handled=upto,
                    commit=None,
                    file_hash=None,
                    answered_at=request.due_at,
                    now=now,
                )
            )
        message = _too_many(found, watched.limit)
        if not is_same_warning(warning_of(status, TOO_MANY, request.source), message):
            mutations.append(Report(source=request.source, problem=None, generation=current.generation, now=now))
            mutations.append(Warn(reason=TOO_MANY, source=request.source, message=message))
        result = CheckResult.SKIP_FIRST if found.recorded and not found.checks else CheckResult.SKIP_SAME
        decided = NoRun(
            result=result,
            mutations=tuple(mutations),
            deferrable=len(mutations) == 1 and isinstance(mutations[0], Skip),
        )
        if await self._skips.write(request, current, decided) is Outcome.STALE:
            return CheckResult.RESTART, None
        return result, None

    def _mutation(self, case: Case, found: Plan, watched: Watched, *, after_checks: bool) -> ListReferences:
        return ListReferences(
            source=case.request.source,
            at=rfc3339(self._now()),
            recorded=found.recorded,
            shown=found.shown,
            superseded=found.superseded if after_checks else (),
            known=found.known,
            highest=found.highest if after_checks or not found.checks else None,
            limit=watched.limit,
        )


def _together(repeats: Sequence[Ended], request: CheckRequest, now: datetime) -> Ended:
    """When to list again: with the first of those that wait, or after the back-off if one of them failed.

    If something has to be changed first, the back-off keeps a scheduled time, too; requests stay open.
    """
    waiting = [(result, again) for result, again in repeats if again is not None]
    if any(again.failed for _, again in waiting):
        limits = [again.limit_s for _, again in waiting if again.limit_s is not None]
        return CheckResult.REFUSED, Requeue(limit_s=min(limits) if limits else None)
    stopped = next((result for result, again in repeats if again is None), None)
    if stopped is not None:
        kept = (request.due_at or waiting) and stopped is not CheckResult.SUSPENDED
        return stopped, Requeue() if kept else None

    def after_s(one: tuple[CheckResult, Requeue]) -> float:
        until = one[1].until
        return (until - now).total_seconds() if until is not None else one[1].after_s or 0.0

    return min(waiting, key=after_s)


def _too_many(found: Plan, limit: int) -> str | None:
    if not found.too_many:
        return None
    count = found.too_many + limit
    if found.unwatched:
        rest = "the others are not watched"
    else:
        rest = "the others run when they move, but their deletion is not noticed"
    return (
        f"watchOn.references selects {count:,} references, and limit is {limit}: those that moved last have an entry, "
        f"{rest}; narrow the patterns, or raise limit"
    )
