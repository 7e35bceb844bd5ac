"""What a check observes: the head of the reference, which selected files differ, the head's author and message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.errors import GitReferenceNotFound
from git_events_runner.rules.decision import Absent, CheckSpec, Head, Observation, Observe, Occurrence, Requests
from git_events_runner.rules.ledger.entry import Entry
from git_events_runner.rules.messages import CheckRequest, Unchanged
from git_events_runner.rules.references import full_name_of, is_pull, reference_of
from git_events_runner.rules.resolve import Resolved

from .ports import Files, Git


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Inputs of a check: the request, its trigger, the source's entry, and what the check handles."""

    request: CheckRequest
    trigger: Snapshot
    entry: Entry
    occurrence: Occurrence
    spec: CheckSpec

    @property
    def namespace(self) -> str:
        """The trigger's namespace."""
        return self.request.trigger.namespace or ""


@dataclass(slots=True)
class Observed:
    """An observation, and the loop's time when its `ls-refs` request was sent."""

    observation: Observation
    sent_at: float = 0.0


class Observer:
    """Reads what a decision needs from git servers."""

    def __init__(self, *, git: Git, files: Files, now: Callable[[], datetime]) -> None:
        self._git = git
        self._files = files
        self._now = now

    async def observe(self, case: Case, resolved: Resolved, observed: Observed, need: Observe) -> Observed:
        """The observation with the part that is needed.

        Raises:
            GitError: The git server did not respond with it.
            SecretUnusable: There is no credential for the request.
            InvalidObject: The patterns cannot be used.
        """
        if need.part == "head":
            return await self._head(case, resolved, observed.observation)
        head = observed.observation.head
        assert isinstance(head, Head)  # noqa: S101  files and text are those of a head
        if need.part == "text":
            text = await self._git.commit_text(resolved.watched_model, case.namespace, head.commit)
            return Observed(replace(observed.observation, now=self._now(), text=text), observed.sent_at)
        selection = await self._files.compare(
            resolved.watched_model, case.namespace, _patterns(case), head.commit, case.entry.commit or ""
        )
        observation = replace(observed.observation, now=self._now(), files=selection)
        return Observed(observation, observed.sent_at)

    async def _head(self, case: Case, resolved: Resolved, before: Observation) -> Observed:
        """One `ls-refs` request, sent after this call, or a shared response to another check."""
        watched, request = resolved.watched, case.request
        urgent = isinstance(case.occurrence, Requests) and not request.retry
        try:
            answer = await self._git.commit_of(
                resolved.watched_model,
                case.namespace,
                watched.ref_type,
                watched.ref_name,
                urgent=urgent,
                unchanged=_unchanged(request, case.entry) if case.spec.on_change_only else None,
            )
        except GitReferenceNotFound:
            if reference_of(request.source) is None:
                raise
            return await self._absent(case, resolved, before, urgent=urgent)
        now = self._now()
        head = Head(commit=answer.commit, tag_object=answer.tag_object, sent_at=self._sent(now, answer.sent_at))
        return Observed(replace(before, now=now, head=head), answer.sent_at)

    async def _absent(self, case: Case, resolved: Resolved, before: Observation, *, urgent: bool) -> Observed:
        """Whether a reference that was not found does not exist: a complete response shows others.

        Raises:
            GitReferenceNotFound: It exists and points to no commit, or the repository shows no reference.
            GitError: Any other of its classes.
        """
        name = resolved.watched.ref_name if is_pull(case.request.source) else full_name_of(case.request.source)
        shown = await self._git.references_of(resolved.watched_model, case.namespace, (name,), urgent=urgent)
        if name in shown.refs:
            raise GitReferenceNotFound(f"{resolved.watched.source}: {name} points to no commit")
        if not shown.alive:
            raise GitReferenceNotFound(f"{resolved.watched.source} shows no reference at all, so that none is deleted")
        now = self._now()
        head = Absent(sent_at=self._sent(now, shown.sent_at))
        return Observed(replace(before, now=now, head=head), shown.sent_at)

    @staticmethod
    def _sent(now: datetime, sent_at: float) -> datetime:
        """The wall clock when a request was sent, from the loop's time."""
        return now - timedelta(seconds=asyncio.get_running_loop().time() - sent_at)

    async def warn(self, case: Case, resolved: Resolved, observation: Observation) -> None:
        """Warn while the patterns select nothing of the head, which no later check could detect."""
        if isinstance(observation.head, Head):
            await self._files.warn(
                case.request,
                resolved.watched_model,
                _patterns(case) if case.spec.on_change_only else (),
                observation.head.commit,
                first=case.entry.commit is None,
                found=observation.files,
            )


def _patterns(case: Case) -> tuple[str, ...]:
    return tuple(case.trigger.model.spec.sources.watch_on.files or ())


def _unchanged(request: CheckRequest, entry: Entry) -> Unchanged | None:
    """Which response to another check a scheduled one may use: no change, request sent after the scheduled time."""
    if not request.polls or not request.due_at or request.scheduled is None:
        return None
    if entry.commit is None or entry.adopted or entry.is_open:
        return None
    return Unchanged(since=request.scheduled, commit=entry.commit)
