"""Serves the status page on loopback: a store that follows the cluster with the caller's rights, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiError, ApiForbidden
from git_events_runner.flow.jobs.queue import JOB_SELECTOR
from git_events_runner.flow.ui import Facts, StatusPage
from git_events_runner.resources.kinds import KINDS, OURS, TRIGGERS, Kind
from git_events_runner.serving import listen, running, serving
from git_events_runner.settings import VERSION

from .session import Session

_HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost", "[::1]")
_SHOWN_S = 60.0  # a request that fails is tried again at the latest after half of it


class Following:
    """The informers of what the page shows."""

    def __init__(self, session: Session) -> None:
        self.store = Store()
        self._session = session
        self._failures: dict[str, tuple[float, str]] = {}
        self._refused: list[str] = []

    async def check_rights(self) -> list[Kind]:
        """The kinds that may be listed; the page needs triggers and Jobs.

        Raises:
            ApiError: Triggers or Jobs cannot be listed.
        """
        found = []
        for kind in (KINDS[name] for name in (*TRIGGERS, "Job", *OURS)):
            if kind in found:
                continue
            try:
                await self._session.client.list_page(kind, namespace=self._scope(kind), limit=1)
            except ApiForbidden:
                if kind.name in {*TRIGGERS, "Job"}:
                    raise
                self._refused.append(f"You may not list {kind.plural}; what depends on them is missing here.")
            else:
                found.append(kind)
        return found

    def informers(self, kinds: list[Kind]) -> dict[str, Informer]:
        """One for each kind."""
        return {
            f"informer-{kind.name}": Informer(
                client=self._session.client,
                kind=kind,
                writer=StoreWriter(self.store, kind.name, namespace=self._scope(kind)),
                namespace=self._scope(kind),
                label_selector=JOB_SELECTOR if kind.name == "Job" else None,
                failed=self._failed,
                absent=lambda: False,
            )
            for kind in kinds
        }

    def facts(self) -> Facts:
        """What the page shows in addition to the objects: no controller's memory."""
        since = asyncio.get_running_loop().time() - _SHOWN_S
        failures = [f"This may be old: {text}" for at, text in self._failures.values() if at > since]
        return Facts(version=VERSION, unreadable=(*self._refused, *failures))

    def _scope(self, kind: Kind) -> str | None:
        return self._session.namespace if kind.namespaced else None

    def _failed(self, kind: Kind, error: ApiError) -> None:
        self._failures[kind.name] = (asyncio.get_running_loop().time(), str(error))


@asynccontextmanager
async def viewing(session: Session, *, port: int) -> AsyncIterator[str]:
    """The address of the page, served while entered.

    Raises:
        ApiError: The caller may not list triggers or Jobs.
        ConfigError: The port is taken.
    """
    following = Following(session)
    kinds = await following.check_rights()
    page = StatusPage(store=following.store, facts=following.facts, decisions=None, now=session.now, bounded=False)
    with listen(port, host=_HOST) as sock:
        own_port = sock.getsockname()[1]
        informers = following.informers(kinds)
        async with (
            serving(_for_this_machine(page.app, own_port), sock),
            running(page=page.run(), **{name: informer.run() for name, informer in informers.items()}),
        ):
            await following.store.wait_synced(*(kind.name for kind in kinds))
            yield f"http://{_HOST}:{own_port}/ui/"


def _for_this_machine(app: ASGIApp, port: int) -> ASGIApp:
    """The page for requests that name this machine.

    A page of another site, whose name was made to resolve to this address (DNS rebinding), is refused.
    """
    hosts = {f"{name}:{port}".encode() for name in _NAMES}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        given = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if given not in hosts:
            response = PlainTextResponse("this page is for http://127.0.0.1\n", status_code=421)
        elif scope["path"] == "/":
            response = PlainTextResponse("see /ui/\n", status_code=307, headers={"Location": "/ui/"})
        elif scope["path"] == "/ui" or scope["path"].startswith("/ui/"):
            await app(scope, receive, send)
            return
        else:
            response = PlainTextResponse("see /ui/\n", status_code=404)
        await response(scope, receive, send)

    return guarded
