"""The writes of a check without a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.flow.ports import DeferringStatusWriter
from git_events_runner.rules.decision import NoRun, Wait
from git_events_runner.rules.ledger.mutations import Outcome, rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import Report, nothing_to_clear
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.rules.waits import ShowWaiting, is_shown

from .ports import Handled


class Skips:
    """Writes the results of a check without a run, immediately or deferred."""

    def __init__(
        self,
        *,
        writer: DeferringStatusWriter,
        handled: Handled,
        submit: Callable[[CheckRequest], None],
        now: Callable[[], datetime],
    ) -> None:
        self._writer = writer
        self._handled = handled
        self._submit = submit
        self._now = now

    async def write(self, request: CheckRequest, snapshot: Snapshot, decided: NoRun) -> Outcome:
        """Write only what is needed: the decision, the end of a problem, handled times; STALE: start again."""
        mutations = list(decided.mutations)
        status = snapshot.raw.get("status") or {}
        if not nothing_to_clear(status, snapshot.generation, request.source):
            now = rfc3339(self._now())
            mutations.append(Report(source=request.source, problem=None, generation=snapshot.generation, now=now))
        if is_shown(status):
            shown = ShowWaiting(generation=snapshot.generation, now=rfc3339(self._now()))
            if combine(status, [*mutations, shown])[1][-1] is Outcome.WRITE:
                mutations.append(shown)
        mutations += self._handled.note(request, status)
        if mutations and request.fence:
            request.fence.check()
        if decided.deferrable and len(mutations) == 1 == len(decided.mutations):
            # Only handled requests: these may be written late (a crash costs one more check).
            again = partial(self._submit, request)
            self._writer.defer(request.trigger, request.uid, mutations[0], unwritten=again)
        elif mutations:
            outcomes = await self._writer.write(request.trigger, request.uid, *mutations)
            if Outcome.STALE in outcomes:
                return Outcome.STALE
        return Outcome.DONE

    async def hold(self, request: CheckRequest, snapshot: Snapshot, decided: Wait) -> Outcome:
        """Write what must survive a wait, and the condition if it is new; STALE: start again."""
        status = snapshot.raw.get("status") or {}
        now, generation = rfc3339(self._now()), snapshot.generation
        mutations = [*decided.mutations, ShowWaiting(generation=generation, now=now)]
        if not nothing_to_clear(status, generation, request.source):
            mutations.append(Report(source=request.source, problem=None, generation=generation, now=now))
        if not decided.mutations or Outcome.WRITE not in combine(status, mutations)[1]:
            return Outcome.DONE
        if request.fence:
            request.fence.check()
        outcomes = await self._writer.write(request.trigger, request.uid, *mutations)
        return Outcome.STALE if Outcome.STALE in outcomes else Outcome.DONE
