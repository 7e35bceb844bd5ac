"""The status page where it is enabled, and its replacement where it is not: then its code is not even imported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

from starlette.types import ASGIApp

from git_events_runner.edges.git.rate_limits import Observer
from git_events_runner.edges.kube.store import Store
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.messages import CheckRequest, Requeue
from git_events_runner.settings import ActionConfig, Settings


class GitObserver(Observer, Protocol):
    """Counts requests to git servers, by host."""

    def keep_hosts(self, hosts: Collection[str]) -> None:
        """No source names any other host."""


class Page(Protocol):
    """A status page, served or not."""

    @property
    def app(self) -> ASGIApp | None:
        """Responds to requests below `/ui`; None: nothing does."""

    @property
    def observer(self) -> Observer:
        """Observes requests to git servers."""

    def keep_hosts(self, hosts: Collection[str]) -> None:
        """No source names any other host."""

    def decided(self, request: CheckRequest, result: CheckResult, again: Requeue | None) -> None:
        """A check has ended."""

    async def run(self) -> None:
        """Follow changes until cancelled."""


class NoPage:
    """No page: all that it would observe is observed by `observer` alone."""

    app = None

    def __init__(self, observer: GitObserver) -> None:
        self.observer = observer
        self.keep_hosts = observer.keep_hosts

    def decided(self, request: CheckRequest, result: CheckResult, again: Requeue | None) -> None:
        """Keep nothing."""

    async def run(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()


def status_page(
    settings: Settings,
    *,
    store: Store,
    leader: Callable[[], str | None],
    action: Callable[[], ActionConfig],
    observer: GitObserver,
    now: Callable[[], datetime],
) -> Page:
    """The page that the settings request; `observer` observes requests to git servers in any case."""
    if not settings.ui:
        return NoPage(observer)
    from .controller_page import ControllerPage  # with the template engine, which takes memory

    return ControllerPage(
        store=store, identity=settings.identity, leader=leader, action=action, observer=observer, now=now
    )
