"""Probes and metrics: `/alive`, `/ready` (500 while not), `/metrics`; the body has one line per problem.

The status page (`flow/ui`) is served below `/ui`, where it is enabled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from git_events_runner.concurrency.pools import Pool
from git_events_runner.telemetry.metrics import Metrics

_SHARED_S, _LONGEST_SHARED_S = 0.25, 5.0
_SHARED_TIMES = 20  # kept for this many rendering times: rendering takes at most a twentieth of the time
_READERS = 16
_OF_ONE_ADDRESS = 4
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """Facts that readiness depends on, and limits within which every task must have moved."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._missing: dict[str, str] = {}
        self._notes: dict[str, list[str]] = {}
        self._moved: dict[str, tuple[Callable[[], float], float, str]] = {}

    def set(self, name: str, *, ready: bool, why: str = "") -> None:
        """A fact became true, or false (with the reason)."""
        if ready:
            self._missing.pop(name, None)
        else:
            self._missing[name] = why or "not yet"

    def set_problem(self, name: str, problem: str | None) -> None:
        """Record a fact by its problem: true without one."""
        self.set(name, ready=problem is None, why=problem or "")

    def note(self, name: str, lines: list[str]) -> None:
        """Note lines that `/ready` reports without effect on its state; they replace the last ones of that name."""
        self._notes[name] = lines

    @property
    def notes(self) -> list[str]:
        """The last notes, one per line."""
        return [line for _, lines in sorted(self._notes.items()) for line in lines]

    def expect(
        self, name: str, moved_at: Callable[[], float], limit_s: float, *, problem: str = "has not moved for"
    ) -> None:
        """A task that must move at least every `limit_s` seconds; `moved_at` in the clock's time."""
        self._moved[name] = (moved_at, limit_s, problem)

    def not_ready(self) -> list[str]:
        """Missing facts of readiness, one per line."""
        return [f"{name}: {why}" for name, why in sorted(self._missing.items())]

    def not_alive(self) -> list[str]:
        """Tasks that have not moved within their limit, one per line."""
        now = self._clock()
        found = [(name, now - moved(), limit_s, problem) for name, (moved, limit_s, problem) in self._moved.items()]
        return [
            f"{name}: {problem} {late_s:.0f} s" for name, late_s, limit_s, problem in sorted(found) if late_s > limit_s
        ]


class _Rendering:
    """Metrics as text, rendered once for all callers within a time that grows with what it took, up to 5 s."""

    def __init__(self, render: Callable[[], Iterable[bytes]]) -> None:
        self._render = render
        self._pool = Pool("metrics", threads=1)
        self._text: Sequence[bytes] | None = None
        self._under_way: asyncio.Future[None] | None = None

    async def text(self) -> Sequence[bytes]:
        """Its pieces, rendered in a thread: thousands of series take longer than the loop may block."""
        while (text := self._text) is None:
            if self._under_way is not None:
                await asyncio.wait({self._under_way})
                continue
            loop = asyncio.get_running_loop()
            self._under_way = loop.create_future()
            began_at = loop.time()
            try:
                self._text = await self._pool.run(lambda: tuple(self._render()))
                took_s = loop.time() - began_at
                shared_s = min(max(_SHARED_S, took_s * _SHARED_TIMES), _LONGEST_SHARED_S)
                loop.call_later(shared_s, self._drop)
            finally:
                self._under_way.cancel()
                self._under_way = None
        return text

    def _drop(self) -> None:
        """Drop the text: it is too old, and takes megabytes."""
        self._text = None


class _Pieces(Response):
    """A response in pieces, each sent after the one before has left, so that the loop is free between them."""

    media_type = _TEXT

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(headers={"content-length": str(sum(map(len, pieces)))})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        for piece in self._pieces if scope["method"] == "GET" else ():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


class Probes:
    """The utility port's application."""

    def __init__(self, *, health: Health, metrics: Metrics, ui: ASGIApp | None = None) -> None:
        """`ui` responds to all paths below `/ui`."""
        self._health = health
        self._ui = ui
        self._rendering = _Rendering(metrics.pieces)
        self._readers: Counter[str] = Counter()
        self._paths = {"/alive": self._alive, "/ready": self._ready, "/metrics": self._show}

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: three paths, without a framework's routing, which would cost more than a probe."""
        if scope["type"] != "http":
            return
        if self._ui is not None and (scope["path"] == "/ui" or scope["path"].startswith("/ui/")):
            await self._ui(scope, receive, send)
            return
        show = self._paths.get(scope["path"])
        if show is None:
            response: Response = PlainTextResponse("use /alive, /ready or /metrics\n", status_code=404)
        elif scope["method"] not in {"GET", "HEAD"}:
            response = PlainTextResponse("use GET\n", status_code=405, headers={"Allow": "GET, HEAD"})
        else:
            response = await show(Request(scope, receive))
        await response(scope, receive, send)

    async def _alive(self, _: Request) -> Response:
        return _response(self._health.not_alive(), "alive")

    async def _ready(self, _: Request) -> Response:
        return _response(self._health.not_ready(), "ready", self._health.notes)

    async def _show(self, request: Request) -> Response:
        """Few at a time, and fewer per address: each response is large."""
        sender = request.client.host if request.client else ""
        if self._readers[sender] >= _OF_ONE_ADDRESS or self._readers.total() >= _READERS:
            text = "too many requests for metrics at a time\n"
            return PlainTextResponse(text, status_code=503, headers={"Retry-After": "1", "Connection": "close"})
        self._readers[sender] += 1
        try:
            return _Pieces(await self._rendering.text())
        finally:
            self._readers[sender] -= 1
            if not self._readers[sender]:
                del self._readers[sender]


def _response(problems: list[str], good: str, notes: Iterable[str] = ()) -> Response:
    lines = [*(problems or [good]), *notes]
    return PlainTextResponse("\n".join(lines) + "\n", status_code=500 if problems else 200)
