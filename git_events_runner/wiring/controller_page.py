"""The status page of a controller: store, lease, runtime config and requests to git servers are its facts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from starlette.types import Receive, Scope, Send

from git_events_runner.edges.kube.store import Store
from git_events_runner.flow.ui import Decision, Decisions, Facts, StatusPage
from git_events_runner.flow.ui.git_hosts import GitHosts
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.messages import CheckRequest, Requeue
from git_events_runner.rules.problems import problem_of
from git_events_runner.settings import VERSION, ActionConfig

from .status_page import GitObserver


class ControllerPage:
    """The page, and what it observes; `app` serves it while `run` runs."""

    def __init__(
        self,
        *,
        store: Store,
        identity: str,
        leader: Callable[[], str | None],
        action: Callable[[], ActionConfig],
        observer: GitObserver,
        now: Callable[[], datetime],
    ) -> None:
        """`action` is the part of the runtime config about Jobs; `observer` gets all that `self.observer` gets."""
        self._store = store
        self._identity = identity
        self._leader = leader
        self._action = action
        self._metrics = observer
        self.observer = GitHosts(observer=observer, now=now)
        self._decisions = Decisions()
        self._now = now
        self._page = StatusPage(store=store, facts=self._facts, decisions=self._decisions, now=now)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request below `/ui`."""
        await self._page.app(scope, receive, send)

    async def run(self) -> None:
        """Follow changes until cancelled."""
        await self._page.run()

    def keep_hosts(self, hosts: Collection[str]) -> None:
        """No source names any other host."""
        self._metrics.keep_hosts(hosts)
        self.observer.keep_hosts(hosts)

    def decided(self, request: CheckRequest, result: CheckResult, again: Requeue | None) -> None:
        """A check has ended: its record in the status has commit and problem, this process alone has the rest."""
        trigger = self._store.get(request.trigger)
        if trigger is None or trigger.uid != request.uid:
            return
        status, now = trigger.raw.get("status"), self._now()
        problem = problem_of(status, request.source) if result.is_error else None
        after_s = again.after_s if again is not None else None
        self._decisions.note(
            request.uid,
            request.source,
            Decision(
                result=result.value,
                at=now,
                since=now,
                commit=entry_of(status, request.source).commit or "",
                why=problem.message if problem is not None else "",
                until=now + timedelta(seconds=after_s) if after_s is not None else None,
            ),
        )

    def _facts(self) -> Facts:
        action = self._action()
        return Facts(
            version=VERSION,
            replica=self._identity,
            leader=self._leader(),
            slots=action.max_running_jobs,
            share=action.max_running_jobs_per_namespace,
            hosts=self.observer.facts(),
            unreadable=self._store.scopes.lines(),
        )
