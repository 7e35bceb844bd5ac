"""The one file that extends a class of uvicorn: bounds on what a connection sends, holds and leaves unread.

uvicorn has none of them. `tests/flow/test_uvicorn.py` fails when a new version changes what this file builds on, and
states what to do then (decision 16). Of uvicorn it uses: the parser's callbacks `on_…` (httptools' names), `cycle` with
`response_complete`, `keep_alive`, `disconnected` and `message_event`, `headers`, `flow`, `loop`, `transport` with
`write`, `close` and `is_closing`, `send_400_response` and `shutdown`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .connections import Connection, Connections
from .limits import Limits
from .turnstile import Turnstile

_SLICE_BYTES = 16 * 1024
_FEW_BYTES = 8 * 1024


class _Phase(Enum):
    IDLE = "between two requests"
    HEADERS = "receives headers"
    BODY = "receives a body"
    WORKING = "is being answered"
    DISCARD = "is answered, and still sends its body"
    LINGER = "is answered for the last time, and still sends"


class Trailers:
    """Where uvicorn appends headers that come after the body: they are of no use, and counted only."""

    def __init__(self) -> None:
        self.count = 0

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Drop it."""
        self.count += 1


class _Closing:
    """The transport as uvicorn uses it: `close` calls back, since what the peer still sends decides how to close."""

    __slots__ = ("_close", "_transport", "closed")

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self.closed = False

    def write(self, data: bytes) -> None:
        """Send it, unless the last answer was sent already."""
        if not self.closed:
            self._transport.write(data)

    def close(self) -> None:
        """There is no further answer."""
        if not self.closed:
            self.closed = True
            self._close()

    def abort(self) -> None:
        """Close immediately, also if data is not sent yet."""
        self.closed = True
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether there is no further answer."""
        return self.closed or bool(self._transport.is_closing())


@dataclass(slots=True, kw_only=True)
class Guard:
    """What the connections of one port share; `address_of` maps a peer's host to whom its connections count for."""

    limits: Limits
    connections: Connections
    address_of: Callable[[str], Hashable]
    turnstile: Turnstile = field(default_factory=Turnstile)
    trailers: Trailers = field(default_factory=Trailers)
    held_bytes: int = 0


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections that send too much or too slowly, pipeline requests, or do not read their answer.

    A peer that is answered while it sends still gets its answer: the kernel would throw the answer away, and reset the
    connection, if it was closed with bytes that were not read. So they are read, and dropped, for a few seconds.
    """

    guard: Guard
    handshake: Connection | None = None
    address: Hashable = None
    moved_at = 0.0
    _phase = _Phase.HEADERS
    _since = 0.0
    _unread_since: float | None = None
    _bytes = 0
    _held = 0
    _read_bytes = 0
    _ended = False
    _stopping = False

    def connection_made(self, transport: Any) -> None:
        """Count it; a port that is full of work refuses it."""
        super().connection_made(transport)
        self._peer = transport
        self.transport = _Closing(transport, self._close)  # type: ignore[assignment]
        self.moved_at = self._since = self.loop.time()
        if self.handshake is not None:
            self.guard.connections.leave(self.handshake)
        self.address = self.guard.address_of(self.client[0]) if self.client else None
        if self.address is None:
            self.address = self
        if not self.guard.connections.enter(self):
            self._end()

    @property
    def waits(self) -> bool:
        """Whether it waits for its peer: for more of a request, for the next one, for the answer to be read."""
        return self._phase is not _Phase.WORKING or self._unread_since is not None

    def data_received(self, data: bytes) -> None:
        """Parse now, or when it is its turn."""
        if self._phase is _Phase.LINGER:
            self._drop(data)
        elif self.guard.turnstile.enter(self, data):
            self.read(data)
        else:
            self.flow.pause_reading()

    def read(self, data: bytes) -> None:
        """Parse what was received, now or a few turns ago."""
        if self._phase is _Phase.LINGER:
            self._drop(data)
        if self._ended or self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.moved_at = self.loop.time()
        if len(data) <= _SLICE_BYTES:
            self._parse(data)
        else:
            for start in range(0, len(data), _SLICE_BYTES):
                self._parse(data[start : start + _SLICE_BYTES])

    def _parse(self, data: bytes) -> None:
        """Parse a few kilobytes, then check the limits: a read may hold tens of thousands of headers or chunks."""
        if self._ended or self.transport.is_closing():
            return
        trailers = self.guard.trailers.count
        self._bytes += len(data)
        self._read_bytes = len(data)
        super().data_received(data)
        phase, limits = self._phase, self.guard.limits
        if phase is _Phase.WORKING or phase is _Phase.LINGER or self._ended:
            return
        if self._bytes > limits.message_bytes or self.guard.trailers.count - trailers > limits.headers:
            self._end()
        elif phase is _Phase.HEADERS:
            if self._bytes > limits.header_bytes or len(self.headers or ()) > limits.headers:
                self._end()
            elif self._bytes > _FEW_BYTES:
                self._hold(self._bytes)

    def connection_lost(self, exc: Exception | None) -> None:
        """It counts no more."""
        self._ended = True
        self._release()
        self.guard.connections.leave(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins, which it may not before the one before is answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse_pipelining()
        if self._ended:
            return
        self._phase, self._since, self._bytes = _Phase.HEADERS, self.moved_at, self._read_bytes
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The application is started with them."""
        if self._ended:
            return
        limits = self.guard.limits
        if len(self.headers) > limits.headers or self._bytes > limits.header_bytes + _SLICE_BYTES:
            self._end()
            return
        large = self._read_bytes > _FEW_BYTES
        if large and not self._hold(sum(len(name) + len(value) for name, value in self.headers)):
            return
        self._phase = _Phase.BODY
        super().on_headers_complete()
        self.headers = self.guard.trailers  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._ended:
            return
        if self._phase is _Phase.DISCARD:
            self._idle()
        else:
            self._phase = _Phase.WORKING
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written, as far as the program is concerned."""
        if self._held:
            self._release()
        if self._phase is _Phase.WORKING:
            self._idle()
        elif self._phase is _Phase.BODY:
            self._phase, self._since = _Phase.DISCARD, self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """This is no HTTP; nothing more of it is parsed."""
        self._ended = True
        super().send_400_response(msg)

    def shutdown(self) -> None:
        """The server stops: what is answered is closed, without waiting for what its peer still sends."""
        self._stopping = True
        if self._phase is _Phase.LINGER:
            self._peer.close()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Its peer does not read its answer."""
        super().pause_writing()
        self._unread_since = self.moved_at = self.loop.time()

    def resume_writing(self) -> None:
        """Its peer has read on."""
        super().resume_writing()
        self._unread_since = None
        self.moved_at = self.loop.time()

    def overdue(self, now: float) -> bool:
        """Whether its peer took longer than the limits allow; `now` by the loop's clock."""
        limits, phase, since = self.guard.limits, self._phase, now - self._since
        if self._unread_since is not None and now - self._unread_since > limits.answer_s:
            return True
        if phase is _Phase.IDLE:
            return since > limits.idle_s
        if phase is _Phase.LINGER:
            return since > limits.linger_s
        if phase is _Phase.BODY:
            return since > limits.header_s + limits.body_s
        return phase is not _Phase.WORKING and since > limits.header_s

    def abort(self) -> None:
        """Close the connection immediately."""
        self._end()

    def _close(self) -> None:
        """Send no more; close immediately if the peer has sent all of its request, else when it has, or soon."""
        if (
            self._peer.is_closing()
            or self._stopping
            or (not self._ended and self._phase in {_Phase.WORKING, _Phase.IDLE})
        ):
            self._peer.close()
            return
        self._phase, self._since, self._bytes = _Phase.LINGER, self.loop.time(), 0
        if self._peer.can_write_eof():
            self._peer.write_eof()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()

    def _drop(self, data: bytes) -> None:
        """Read on, for as long as it takes the peer to see its answer."""
        self.flow.resume_reading()
        self._bytes += len(data)
        if self._bytes > self.guard.limits.message_bytes:
            self._end()

    def _idle(self) -> None:
        self._phase, self._since = _Phase.IDLE, self.loop.time()

    def _refuse_pipelining(self) -> None:
        """Answer the request that came first, then close: no forge and no proxy sends the next one before."""
        self.cycle.keep_alive = False
        self._ended = True
        self.flow.pause_reading()

    def _hold(self, header_bytes: int) -> bool:
        """Whether large headers fit into the budget of all connections; else this one is closed."""
        more = header_bytes - self._held
        if header_bytes > _FEW_BYTES and more > 0:
            self.guard.held_bytes += more
            self._held += more
            if self.guard.held_bytes > self.guard.limits.all_headers_bytes:
                self._end()
                return False
        return True

    def _release(self) -> None:
        self.guard.held_bytes -= self._held
        self._held = 0

    def _end(self) -> None:
        self._ended = True
        self.transport.abort()
