"""SSH connections, kept while they are used: opened one at a time, shared by requests with the same access.

Nothing of this machine is used: no agent, no configuration files, no key except the given one; there are no prompts.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from git_events_runner.concurrency.fairness import Room, no_room
from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.allowed_addresses import Addresses
from git_events_runner.edges.git.request import Repository
from git_events_runner.edges.git.resolver import Names
from git_events_runner.errors import (
    GitError,
    GitForbidden,
    GitNotFound,
    GitProtocolError,
    GitReferenceNotFound,
    GitUnreachable,
    GitUnsupported,
)
from git_events_runner.resources.ssh import SshAddress

from .key_bounds import KeyBounds

if TYPE_CHECKING:
    from .login import Login

_CHANNELS = 8  # OpenSSH allows ten sessions on a connection (MaxSessions)
_IDLE_S = 75.0
_AGE_S = 600.0
_KEPT = 64
_BUFFER_BYTES = 1 << 20
_STDERR_BYTES = 4096
_STDERR_MOST_BYTES = 1 << 20
_V2_ENVIRONMENT = ("GIT_PROTOCOL=version=2",)


class Channel:
    """One command on the server, as asyncssh's session: bytes out, bytes in, and its stderr."""

    def __init__(self) -> None:
        self._channel: Any = None
        self._parts: deque[bytes] = deque()
        self._held = 0
        self._paused = self._ended = False
        self._stderr, self._stderr_bytes = bytearray(), 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._on_closed: Callable[[], object] | None = None
        self.on_bytes: Callable[[int], object] = lambda _: None
        self.on_end: Callable[[], object] = lambda: None
        self.error: Exception | None = None

    @property
    def stderr(self) -> str:
        """What the command wrote to stderr, at most 4 KiB, in one line."""
        lines = (line.strip() for line in self._stderr.decode("utf-8", "replace").splitlines())
        return " ".join(line for line in lines if line not in {"", "error:"})

    def write(self, data: bytes) -> None:
        """Send bytes to the command; does nothing once it has ended."""
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)

    async def read(self) -> bytes:
        """The next bytes of the command's output; empty at its end."""
        while not self._parts:
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = self._parts.popleft()
        self._held -= len(data)
        if self._paused and self._held < _BUFFER_BYTES // 2:
            self._paused = False
            self._channel.resume_reading()
        return data

    def close(self) -> None:
        """End the command; its connection stays."""
        if self._channel is not None:
            self._channel.close()

    def never_opened(self) -> None:
        """The server did not open it: it is lost, unless it was already."""
        if not self._closed:
            self.connection_lost(None)

    def when_closed(self, call: Callable[[], object]) -> None:
        """Call back when the server has ended it too; until then the server counts it."""
        if self._closed:
            call()
        else:
            self._on_closed = call

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what asyncssh calls -----------------------------------------------------------------------

    def connection_made(self, channel: Any) -> None:
        """The channel is open."""
        self._channel = channel

    def session_started(self) -> None:
        """The command runs."""

    def data_received(self, data: bytes, kind: int | None) -> None:
        """Bytes of stdout (`kind` None) or stderr."""
        self.on_bytes(len(data))
        if kind is not None:
            self._stderr += data[: _STDERR_BYTES - len(self._stderr)]
            self._stderr_bytes += len(data)
            if self._stderr_bytes > _STDERR_MOST_BYTES:
                self.eof_received()
            return
        self._parts.append(data)
        self._held += len(data)
        if self._held > _BUFFER_BYTES and not self._paused:
            self._paused = True
            self._channel.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Nothing more comes; the channel is closed then."""
        self._ended = True
        self._wake()
        return False

    def exit_status_received(self, status: int) -> None:
        """The command has ended; its stderr has more information than its code."""

    def exit_signal_received(self, signal: str, core_dumped: bool, message: str, language: str) -> None:  # noqa: FBT001
        """The command was ended."""

    def pause_writing(self) -> None:
        """Requests are small: they are buffered completely."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        """The channel is closed."""
        self._ended = True
        self.error = error
        self._closed = True
        self.on_end()
        self._wake()
        if self._on_closed is not None:
            self._on_closed()


@dataclass(slots=True, eq=False)
class _Connection:
    """An open connection; `active` are the requests under way, `channels` what the server may still count."""

    login: Login
    opened_at: float
    active: int = 0
    channels: int = 0
    used: bool = False
    forgotten: bool = False
    most: int = _CHANNELS
    timer: asyncio.TimerHandle | None = None

    def fits(self, now: float) -> bool:
        """Whether one more channel may be opened."""
        return self.channels < self.most and now - self.opened_at < _AGE_S and not self.login.closed


class Connections:
    """All connections, by login, host and access."""

    def __init__(self, addresses: Addresses, bounds: KeyBounds, room: Room = no_room) -> None:
        """`room` is how many private keys of a namespace are remembered in any case."""
        self._addresses = addresses
        self._open: OrderedDict[tuple[str, ...], list[_Connection]] = OrderedDict()
        self._opening: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()
        self._logins: Any = None
        self._names = Names()
        self._imports = Pool("imports", threads=1)
        self._bounds = bounds
        self._room = room
        self._keys: Any = None

    async def close(self) -> None:
        """Close all connections."""
        everything = [each for found in self._open.values() for each in found]
        self._open.clear()
        for each in everything:
            self._drop(each)
        for each in everything:
            await each.login.wait_closed()

    @asynccontextmanager
    async def channel(self, repository: Repository, command: str, *, v2: bool) -> AsyncIterator[Channel]:
        """A command running on the repository's host, to which protocol v2 is offered or not; it is ended on leaving.

        Raises:
            GitHostKeyRefused: The host's key is not accepted.
            GitAuthRequired: The server does not accept our login.
            GitError: Any other of its classes.
        """
        address = SshAddress.of(repository.url)
        if address is None:
            raise GitUnsupported(f"{repository}: this is no SSH URL")
        access = repository.ssh or SshAccess()
        key = (address.user, address.host, str(address.port), *access.parts)
        while True:
            connection = await self._connection(repository, address, access, key)
            reused, connection.used = connection.used, True
            connection.active += 1
            connection.channels += 1
            channel = Channel()
            try:
                await connection.login.start(channel, command, _V2_ENVIRONMENT if v2 else ())
            except BaseException as error:
                channel.never_opened()
                connection.channels -= 1
                again = reused and self._may_try_again(key, connection, error)
                if not isinstance(error, GitError):
                    self._forget(key, connection)  # cancelled: whether a session was started is not known
                self._leave(connection)
                if again:
                    continue
                raise
            break
        try:
            yield channel
        except (GitNotFound, GitForbidden, GitReferenceNotFound):
            raise
        except BaseException:
            self._forget(key, connection)  # no further requests after an error or a cancellation
            raise
        finally:
            channel.close()
            channel.when_closed(lambda: _ended(connection))
            self._leave(connection)

    def _may_try_again(self, key: tuple[str, ...], connection: _Connection, error: BaseException) -> bool:
        """A kept connection may have ended meanwhile, or the server allows fewer sessions than expected."""
        if isinstance(error, GitUnreachable):
            self._forget(key, connection)
            return True
        if isinstance(error, GitProtocolError):
            connection.most = max(1, connection.channels)
            if connection.channels == 0:
                self._forget(key, connection)
            return True
        return False

    async def _connection(
        self, repository: Repository, address: SshAddress, access: SshAccess, key: tuple[str, ...]
    ) -> _Connection:
        lock = self._opening.setdefault(key, asyncio.Lock())
        async with lock:
            loop = asyncio.get_running_loop()
            for found in self._open.get(key, ()):
                if found.fits(loop.time()):
                    self._keep_awake(found)
                    return found
            if self._logins is None:
                # In a thread: the import takes a third of a second.
                self._logins = await self._imports.run(importlib.import_module, f"{__package__}.login")
                self._keys = self._logins.Keys(self._bounds, self._room)
                logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
            login = await self._logins.Login.to(repository, address, access, self._addresses, self._names, self._keys)
            opened = _Connection(login=login, opened_at=loop.time())
            self._open.setdefault(key, []).append(opened)
            self._open.move_to_end(key)
            self._trim(key)
            login.on_lost = lambda: self._forget(key, opened)
            return opened

    def _trim(self, key: tuple[str, ...]) -> None:
        """Too many are kept: close idle ones, the oldest first."""
        kept = sum(map(len, self._open.values()))
        for other, found in list(self._open.items()):
            for each in [each for each in found if not each.active and other != key]:
                if kept <= _KEPT:
                    return
                self._forget(other, each)
                kept -= 1

    @staticmethod
    def _keep_awake(connection: _Connection) -> None:
        if connection.timer is not None:
            connection.timer.cancel()
            connection.timer = None

    def _leave(self, connection: _Connection) -> None:
        """One request less; the last one starts the timer that closes the connection."""
        connection.active -= 1
        if connection.active:
            return
        if connection.forgotten or connection.login.closed:
            self._drop(connection)
        else:
            self._keep_awake(connection)
            connection.timer = asyncio.get_running_loop().call_later(_IDLE_S, self._drop, connection)

    def _forget(self, key: tuple[str, ...], connection: _Connection) -> None:
        """Use it no more; it is closed after its last request."""
        connection.forgotten = True
        found = self._open.get(key, [])
        if connection in found:
            found.remove(connection)
        if not found:
            self._open.pop(key, None)
        if not connection.active:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._keep_awake(connection)
        connection.login.close()


def _ended(connection: _Connection) -> None:
    connection.channels -= 1
