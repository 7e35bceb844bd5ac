"""The status page's ASGI application: GET only, no cookie, nothing from other hosts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.ref import Ref

from . import views
from .estate import Estate, Rows
from .facts import Decisions, Facts
from .live import Changes
from .notifier_view import failing, notifiers_of
from .parts import when
from .rendering import Templates
from .trigger_view import trigger

ROOT = "/ui"
_STREAMS, _STREAMS_OF_ONE = 64, 16
_QUERY_CHARS, _FIELDS = 2048, 16
_KEPT_S = 300.0
# All readers together: a flood of views must not delay other work of the process.
_VIEWS_PER_S, _VIEWS_AT_ONCE = 20.0, 60.0
_POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class StatusPage:
    """The pages below `/ui`. `run` has to run while they are served."""

    def __init__(
        self,
        *,
        store: Store,
        facts: Callable[[], Facts],
        decisions: Decisions | None,
        now: Callable[[], datetime],
        bounded: bool = True,
    ) -> None:
        """`decisions` is None where checks are made by other processes; `bounded`: limit the rate of views."""
        self._bounded = bounded
        self._store = store
        self._facts = facts
        self._decisions = decisions
        self._now = now
        self._changes = Changes(store=store)
        self._estate = Estate(store=store, version=lambda: self._changes.version)
        self._templates = Templates()
        self._streams: Counter[str] = Counter()
        self._drop: asyncio.TimerHandle | None = None
        self._views, self._viewed_at = _VIEWS_AT_ONCE, float("-inf")
        self._pages: Mapping[str, Callable[[Rows, Facts, views.Query, datetime], dict[str, Any]]] = {
            "overview": lambda rows, facts, _, now: {
                **views.overview(rows, facts, now),
                "undelivered": failing(self._store),
            },
            "triggers": lambda rows, _, query, now: views.triggers(rows, query, now),
            "runs": lambda rows, _, query, now: views.runs(rows, query, now),
            "queue": views.queue,
            "hosts": lambda _, facts, query, now: views.hosts(facts, store.all, query, now),
        }

    async def run(self) -> None:
        """Follow changes until cancelled; streams of events end then."""
        await self._changes.run()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request below `/ui`."""
        if scope["method"] not in {"GET", "HEAD"}:
            response: Response = _plain("use GET", 405, {"Allow": "GET, HEAD"})
        else:
            path = scope["path"].removeprefix(ROOT)
            if path == "/events":
                await self._stream(scope, receive, send)
                return
            response = await self._respond(path, scope)
        for name, value in HEADERS.items():
            response.headers[name] = value
        await response(scope, receive, send)

    async def _respond(self, path: str, scope: Scope) -> Response:
        if not path:
            return RedirectResponse("ui/", status_code=308)
        if path.startswith("/static/"):
            found = self._templates.files.get(path.removeprefix("/static/"))
            if found is None:
                return _plain("there is no such file", 404)
            content, media_type = found
            return Response(content, media_type=media_type, headers={"Cache-Control": "public, max-age=31536000"})
        if self._bounded and not self._may_view():
            return _plain("too many views at a time", 503, {"Retry-After": "1"})
        query = _query(scope["query_string"])
        parts = _parts(scope)
        if not self._store.synced(*TRIGGERS, "Job"):
            return await self._page("wait.html", {}, parts, 503, {"Retry-After": "2"})
        if len(parts) == 4 and parts[0] == "triggers":  # noqa: PLR2004  triggers/KIND/NAMESPACE/NAME
            return await self._trigger(parts, query)
        name = parts[0] if parts else "overview"
        make = self._pages.get(name) if len(parts) <= 1 and (parts != ["overview"]) else None
        if make is None:
            return await self._page("missing.html", {"what": "This page"}, parts, 404)
        values = make(await self._rows(), self._facts(), query, self._now())
        return await self._page(f"{name}.html", values, parts)

    def _may_view(self) -> bool:
        """Whether the rate of views allows one more."""
        now = asyncio.get_running_loop().time()
        self._views = min(self._views + (now - self._viewed_at) * _VIEWS_PER_S, _VIEWS_AT_ONCE)
        self._viewed_at = now
        if self._views < 1:
            return False
        self._views -= 1
        return True

    async def _trigger(self, parts: list[str], query: views.Query) -> Response:
        ref = Ref(parts[1], parts[2], parts[3])
        rows = await self._rows()
        row = rows.triggers.get(ref)
        if row is None:
            return await self._page("missing.html", {"what": f"{ref}"}, parts, 404)
        runs = rows.runs_of.get(ref, ())
        values = trigger(row, runs, self._store.get, self._decisions, query, self._now())
        repositories = {source.name: source.repository for source in values["sources"]}
        values["notifiers"] = notifiers_of(self._store, ref, runs, repositories)
        return await self._page("trigger.html", values, parts)

    async def _rows(self) -> Rows:
        """The rows; they are dropped after some minutes without a request."""
        if self._drop is not None:
            self._drop.cancel()
        self._drop = asyncio.get_running_loop().call_later(_KEPT_S, self._estate.drop)
        return await self._estate.rows()

    async def _page(
        self,
        template: str,
        values: Mapping[str, Any],
        parts: list[str],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        now = self._now()
        every = {
            "root": "../" * (len(parts) - 1) or "./",
            "section": parts[0] if parts else "overview",
            "facts": self._facts(),
            "rendered": when(now, now),
            **values,
        }
        text = self._templates.render(template, every)
        response = Response(text, status_code=status, media_type="text/html", headers=dict(headers or {}))
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events, for some readers at a time."""
        client = scope.get("client")
        sender = client[0] if client else ""
        if self._changes.streams >= _STREAMS or self._streams[sender] >= _STREAMS_OF_ONE or self._changes.closed:
            response = _plain("too many open pages", 503, {"Retry-After": "30", "Connection": "close"})
            await response(scope, receive, send)
            return
        headers = {
            **HEADERS,
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        self._streams[sender] += 1
        try:
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(_left(receive))
                sending = group.create_task(self._send_events(send))
                await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                sending.cancel()
        finally:
            self._streams[sender] -= 1
            if not self._streams[sender]:
                del self._streams[sender]

    async def _send_events(self, send: Send) -> None:
        async with aclosing(self._changes.stream()) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    """Return when the reader has left."""
    while (await receive())["type"] != "http.disconnect":
        continue


def _plain(text: str, status: int, headers: Mapping[str, str] | None = None) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status_code=status, headers=dict(headers or {}))


def _parts(scope: Scope) -> list[str]:
    """The parts of the path below `/ui/`, each decoded by itself."""
    raw = scope.get("raw_path") or scope["path"].encode()
    text = raw.decode("ascii", "replace").partition("?")[0].removeprefix(f"{ROOT}/")
    return [unquote(part, errors="replace") for part in text.split("/")] if text else []


def _query(raw: bytes) -> dict[str, str]:
    """The first value of each field; values that are too long are left out."""
    found: dict[str, str] = {}
    text = raw.decode("ascii", "replace")
    if len(text) <= _QUERY_CHARS:
        for name, value in parse_qsl(text, max_num_fields=None)[:_FIELDS]:
            found.setdefault(name, value)
    return found
