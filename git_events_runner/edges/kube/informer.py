"""List and watch: a pure state machine (`step`) with a small driver, after the rules of client-go's reflector.

LIST in pages, then WATCH with bookmarks. 410 (HTTP or ERROR event) lists again; 429 and a refused WATCH back off
without a list; a stream that is cut is watched again from the last version seen. A list replaces what is known and
deletes what it lacks.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

from git_events_runner.concurrency.slices import Slices
from git_events_runner.errors import ApiError, ApiForbidden, ApiGone, ApiNotFound, ApiTooManyRequests
from git_events_runner.resources.kinds import Kind
from git_events_runner.resources.ref import Ref

from .page import Page
from .snapshot import version_number
from .store import StoreWriter

FIRST_BACKOFF_S = 0.8
LONGEST_BACKOFF_S = 30.0
ABSENT_BACKOFF_S = 3.2  # of a kind that is not served: its CRD may be created any moment
HEALTHY_S = 120.0
SHORTEST_S = 1.0
WATCH_S = (300, 600)
QUIET_S = 180.0
_REGULAR_S = 120.0  # bookmarks come about once a minute, from most API servers
PASSED_S = 5.0  # an API server that starts may refuse for a moment what it allows
_LISTED_AGAIN_S = 60.0  # bookmarks come once a minute


class Do(Enum):
    """What to do next."""

    LIST = "list"
    WATCH = "watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """State of an informer: next action, version to watch from, back-off before it, when a version was too old."""

    do: Do = Do.LIST
    version: str = ""
    pause_s: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    expired_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A complete list arrived, as of `version`."""

    version: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the watch stream: its type, and the version of its object."""

    type: str
    version: str
    code: int | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The stream ended: by the server's time-out (no error), or with one; `lasted_s` since it was opened, if it was."""

    error: ApiError | None
    at: float
    lasted_s: float = 0.0


def step(state: State, given: Listed | Event | Ended) -> State:
    """The next state. Pure; times are the loop's."""
    if isinstance(given, Listed):
        return replace(state, do=Do.WATCH, version=given.version, pause_s=0.0)
    if isinstance(given, Event):
        if given.type == "ERROR":  # busy: the version is still good; else, as client-go: list, immediately if too old
            relist = state.do if given.code == 429 else Do.LIST  # noqa: PLR2004  HTTP
            return _failed(replace(state, do=relist), given.at, wait_s=None, expired=given.code == 410)  # noqa: PLR2004
        return replace(state, version=given.version or state.version, pause_s=0.0, backoff_s=FIRST_BACKOFF_S)
    error = given.error
    if given.lasted_s >= SHORTEST_S:  # it was a success, however it ended
        state = replace(state, backoff_s=FIRST_BACKOFF_S)
    if error is None:
        if given.lasted_s < SHORTEST_S:  # no thousand requests a second to a server that closes immediately
            return _failed(state, given.at, wait_s=None, expired=False)
        return replace(state, pause_s=0.0)
    if isinstance(error, ApiGone):
        return _failed(replace(state, do=Do.LIST), given.at, wait_s=None, expired=True)
    wait_s = error.retry_after_s if isinstance(error, ApiTooManyRequests) else None
    longest_s = ABSENT_BACKOFF_S if isinstance(error, ApiNotFound) else LONGEST_BACKOFF_S
    return _failed(state, given.at, wait_s=wait_s, expired=False, longest_s=longest_s)


def _failed(
    state: State, at: float, *, wait_s: float | None, expired: bool, longest_s: float = LONGEST_BACKOFF_S
) -> State:
    """Back off by doubling. A version that is merely too old is listed immediately, once in two minutes."""
    backoff_s = min(state.backoff_s, longest_s)
    first = expired and (state.expired_at is None or at - state.expired_at >= HEALTHY_S)
    return replace(
        state,
        pause_s=0.0 if first else max(backoff_s, wait_s or 0.0),
        backoff_s=min(backoff_s * 2, longest_s),
        expired_at=at if expired else state.expired_at,
    )


class Lister(Protocol):
    """What an informer needs of the API server."""

    async def list_page(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
        continue_token: str | None = None,
        resource_version: str | None = None,
    ) -> Page:
        """One page of a list."""

    def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        timeout_s: int,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        quiet_s: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """A stream of events; it ends with an error when nothing comes for `quiet_s`."""


class Informer:
    """Keeps one kind (in one namespace, or all) of the store true to the API server."""

    def __init__(
        self,
        *,
        client: Lister,
        kind: Kind,
        writer: StoreWriter,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        failed: Callable[[Kind, ApiError], None],
        absent: Callable[[], bool],
        watch_s: tuple[int, int] = WATCH_S,
    ) -> None:
        """`absent`: the namespace is known not to exist; then it is empty, also if requests are refused."""
        self._client = client
        self._kind = kind
        self._writer = writer
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._failed = failed
        self._absent = absent
        self._watch_s = watch_s
        self.moved_at: float = 0.0
        self.answered_at: float = 0.0  # the loop's time of the API server's last answer, an event or an error
        self._room = 0
        self._listed_at = 0.0
        self._slices = Slices()
        self._refused_at: float | None = None  # since when every request was refused
        self._has_bookmarks = False  # whether a stream shows by bookmarks that it is alive

    async def run(self) -> None:
        """List and watch until cancelled; failures are waited out."""
        state = State()
        loop = asyncio.get_running_loop()
        while True:
            self.moved_at = loop.time()
            await asyncio.sleep(state.pause_s * random.uniform(0.8, 1.2))  # noqa: S311  jitter
            try:
                state = await (self._list(state) if state.do is Do.LIST else self._watch(state))
            except ApiError as error:
                state = await self._after(state, error, loop.time())

    async def _after(self, state: State, error: ApiError, at: float, *, lasted_s: float = 0.0) -> State:
        """A request failed. Roles in a namespace are deleted with it: it is listed again until it is there.

        A namespace that exists and refuses is passed over after a while; it joins when it can be listed.
        """
        after = step(state, Ended(error=error, at=at, lasted_s=lasted_s))
        if error.answered:
            self.answered_at = at
        if isinstance(error, ApiForbidden):
            if self._absent():
                await self._slices.run(self._writer.clear(str(error)))
                return replace(after, do=Do.LIST)
            self._refused_at = at if self._refused_at is None else self._refused_at
            self._writer.refuse(str(error))
            if at - self._refused_at >= PASSED_S and self._writer.pass_over():
                return after  # reported once for the namespace
        self._failed(self._kind, error)
        return after

    async def _list(self, state: State) -> State:
        found: set[tuple[Ref, str]] = set()
        self._room, self._listed_at = self._writer.room, asyncio.get_running_loop().time()
        token: str | None = None
        while True:
            page = await self._client.list_page(
                self._kind,
                namespace=self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                continue_token=token,
            )
            self.answered_at = asyncio.get_running_loop().time()
            for key in self._writer.put_page(page.items):
                found.add(key)
                await self._slices.rest()
            token = page.continue_token
            if token is None:
                break
        await self._slices.run(self._writer.finish(found, version=page.resource_version))
        self._refused_at = None
        return step(state, Listed(version=page.resource_version, at=asyncio.get_running_loop().time()))

    async def _watch(self, state: State) -> State:
        loop = asyncio.get_running_loop()
        timeout_s = random.randint(*self._watch_s)  # noqa: S311  spreads the load
        opened: float | None = None
        quiet_s = QUIET_S if self._has_bookmarks else None
        try:
            async with self._client.watch(
                self._kind,
                resource_version=state.version,
                timeout_s=timeout_s,
                namespace=self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                quiet_s=quiet_s,
            ) as events:
                opened = self.answered_at = loop.time()
                self._refused_at = None
                self._writer.admit()
                async for event in events:
                    if event.get("type") == "BOOKMARK" and loop.time() - self.answered_at <= _REGULAR_S:
                        self._has_bookmarks = True
                    self.moved_at = self.answered_at = loop.time()
                    state = self._apply(state, event, loop.time())
                    if event.get("type") == "ERROR":
                        return state
                    if self._writer.room != self._room and loop.time() - self._listed_at >= _LISTED_AGAIN_S:
                        return replace(state, do=Do.LIST)
                    await self._slices.rest()  # thousands of events may have come together
        except ApiError as error:
            lasted_s = 0.0 if opened is None else loop.time() - opened
            if quiet_s is not None and loop.time() - self.answered_at >= quiet_s:
                self._has_bookmarks = False  # it may be that none are sent any more
            return await self._after(state, error, loop.time(), lasted_s=lasted_s)
        return step(state, Ended(error=None, at=loop.time(), lasted_s=loop.time() - (opened or 0.0)))

    def _apply(self, state: State, event: Mapping[str, Any], at: float) -> State:
        kind, obj = str(event.get("type")), event.get("object") or {}
        metadata = obj.get("metadata") or {}
        if kind in {"ADDED", "MODIFIED"}:
            self._writer.apply(obj)
        elif kind == "DELETED":
            self._writer.remove(obj)
        elif kind == "BOOKMARK":
            self._writer.note_version(version_number(metadata.get("resourceVersion")))
        code = obj.get("code") if kind == "ERROR" else None
        return step(state, Event(type=kind, version=str(metadata.get("resourceVersion") or ""), code=code, at=at))
