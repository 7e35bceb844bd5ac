"""No request of apprise leaves by itself: every session of `requests` in this process hands its requests to our client.

That client validates addresses after name resolution, follows no redirect and reads only the beginning of an answer.
apprise has no seam for that: its plugins call `requests.post`, which creates a `requests.sessions.Session`. So a
class of ours replaces that one before apprise is imported. Nothing else in this program uses `requests`: it would
fail.

`tests/edges/chat/test_confinement.py` fails when an upgrade of `requests` or apprise breaks this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

_TOO_MANY = 429
_OURS = frozenset(("accept-encoding", "connection", "content-length", "host", "transfer-encoding", "user-agent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, when to send again (if the receiver names a time), and the beginning of the body."""

    status: int
    retry_after_s: float | None
    body: bytes


Exchange = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[Answer]]  # method, URL, body, headers


@dataclass(slots=True, kw_only=True, eq=False)
class Calls:
    """The requests of one message: made in a thread, carried out by the loop. `error`: the first that had no answer."""

    loop: asyncio.AbstractEventLoop
    exchange: Exchange
    answers: list[Answer] = field(default_factory=list)
    error: Exception | None = None
    is_closed: bool = False
    under_way: Future[Answer] | None = None

    def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request; called in the thread.

        Raises:
            requests.ConnectionError: There is no answer.
        """
        if self.is_closed:
            raise requests.ConnectionError("the message is no longer sent")
        request = asyncio.run_coroutine_threadsafe(self._exchanged(method, url, body, headers), self.loop)
        self.under_way = request
        if self._ended():
            request.cancel()
        try:
            answer = request.result()
        except Exception as error:
            self.error = self.error or error
            raise requests.ConnectionError("no answer") from error
        self.answers.append(answer)
        self.is_closed = self.is_closed or answer.status == _TOO_MANY  # no plugin tries again by itself
        return answer

    def _ended(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        """Let no request follow; the one under way is cancelled."""
        self.is_closed = True
        if self.under_way is not None:
            self.under_way.cancel()

    async def _exchanged(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await self.exchange(method, url, body, headers)


_CALLS: ContextVar[Calls | None] = ContextVar("calls", default=None)


@contextmanager
def sending(calls: Calls) -> Iterator[None]:
    """Within it, and in threads that get its context, sessions of `requests` hand their requests to these calls."""
    token = _CALLS.set(calls)
    try:
        yield
    finally:
        calls.close()
        _CALLS.reset(token)


class _Transport(BaseAdapter):
    """What a session uses instead of sockets."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Hand over a request.

        Raises:
            requests.ConnectionError: There is no answer, or no message is being sent.
        """
        calls = _CALLS.get()
        if calls is None:
            raise requests.ConnectionError("only messages of Notifiers may send requests")
        body = request.body or b""
        if not isinstance(body, str | bytes):
            raise requests.ConnectionError("streams are not sent")
        content = body.encode() if isinstance(body, str) else body
        headers = {name: str(value) for name, value in request.headers.items() if name.lower() not in _OURS}
        answer = calls.send(request.method or "GET", request.url or "", content, headers)
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict({"Content-Type": "application/json; charset=utf-8"})
        response.encoding = "utf-8"
        response.url, response.request = request.url or "", request
        response._content = answer.body  # noqa: SLF001  as adapters of tests do: there is no other way to set it
        return response

    def close(self) -> None:
        """There is nothing to close."""


_Session = requests.sessions.Session


class ConfinedSession(_Session):
    """A session that reads no environment, follows no redirect, and opens no socket."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no .netrc, no proxies: the client decides
        for prefix in ("https://", "http://"):
            self.mount(prefix, _Transport())

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request; a redirect is the answer."""
        return super().send(request, **{**kwargs, "allow_redirects": False})


def confine() -> None:
    """Let every session that is created from now on be a confined one."""
    requests.sessions.Session = ConfinedSession  # type: ignore[misc]
    requests.Session = ConfinedSession  # type: ignore[misc]
