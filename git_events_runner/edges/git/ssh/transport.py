"""Git over SSH: one channel per request on a connection that is kept and shared (gitprotocol-pack, "SSH Transport").

Protocol v2 is requested through the variable GIT_PROTOCOL; a server without it answers in v0, which is supported as
well. A server whose program ends without output in v2 gets v0 from then on. The first request to an SSH server imports
the library: it costs 30 MiB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol, TypeVar

from git_events_runner.concurrency.fairness import FairCache, Room, no_room
from git_events_runner.edges.git.allowed_addresses import Addresses
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.protocol import (
    FLUSH,
    Advertisement,
    Capabilities,
    FetchAnswer,
    LsRefs,
    RemoteRef,
    fetch_request,
    ls_refs_request,
    server_error,
)
from git_events_runner.edges.git.rate_limits import Observer
from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.edges.git.shape import ONE_COMMIT, FetchShape
from git_events_runner.errors import (
    GitEmptyAnswer,
    GitForbidden,
    GitNotFound,
    GitProtocolError,
    GitReferenceNotFound,
    GitTimeout,
    GitUnsupported,
)
from git_events_runner.resources.ssh import SshAddress

from .key_bounds import KeyBounds
from .pool import Channel, Connections

_V2 = 2
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Parser(Protocol):
    """What all three parsers have in common."""

    @property
    def ended(self) -> bool:
        """Whether the last packet was received."""

    def feed(self, data: bytes) -> object:
        """Take the next bytes."""


class _Exchange(Protocol[_T_co]):
    """A conversation, with protocol v2 offered or not."""

    def __call__(self, *, v2: bool) -> Awaitable[_T_co]:
        """Start it."""


class SshTransport:
    """All repositories behind `git@host:path` and `ssh://`."""

    def __init__(self, *, limits: Limits, addresses: Addresses, observer: Observer, room: Room = no_room) -> None:
        """`room` is how many repositories of a namespace are remembered in any case."""
        self._limits = limits
        self._observer = observer
        self._connections = Connections(addresses, KeyBounds(bits=limits.key_bits, rounds=limits.key_rounds), room)
        # Repositories whose server fails at v2.
        self._old: FairCache[str, bool] = FairCache(limit=limits.remembered, room=room)

    async def close(self) -> None:
        """Close the connections; the transport can be used again afterwards."""
        await self._connections.close()

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of repositories that are no longer configured, by `Repository.key`."""
        for key in keys:
            self._old.pop(key)

    async def ls_refs(self, repository: Repository, names: Collection[str]) -> Mapping[str, RemoteRef]:
        """Those of the full reference names that exist.

        Raises:
            GitHostKeyUnknown: The host's key is neither known nor accepted unseen.
            GitHostKeyChanged: The host shows another key than the known ones.
            GitError: Any other of its classes, by the failure.
        """

        async def exchange(*, v2: bool) -> Mapping[str, RemoteRef]:
            async with self._connections.channel(repository, upload_pack(repository), v2=v2) as channel:
                capabilities, refs = await self._greeted(repository, channel, names)
                if capabilities.version == _V2:
                    parser = LsRefs(names, limit_bytes=self._limits.refs_bytes)
                    channel.write(ls_refs_request(capabilities, names))
                    await self._read(repository, channel, parser, answers=v2)
                    refs = parser.finish()
                channel.write(FLUSH)
                return refs

        return await self._in_any_version(repository, exchange)

    async def fetch(
        self,
        repository: Repository,
        commit: str,
        *,
        blobless: bool,
        write: Callable[[bytes], object],
        shape: FetchShape = ONE_COMMIT,
    ) -> str:
        """Write the pack of a commit, by default without history; gives the object format, `sha1` or `sha256`.

        Raises:
            GitReferenceNotFound: The server does not have, or does not give, that commit.
            GitError: Any other of its classes, by the failure.
        """

        async def exchange(*, v2: bool) -> str:
            async with self._connections.channel(repository, upload_pack(repository), v2=v2) as channel:
                capabilities, _ = await self._greeted(repository, channel, ())
                answer = FetchAnswer(capabilities, limit_bytes=self._limits.pack_bytes)
                channel.write(fetch_request(capabilities, commit, blobless=blobless, shape=shape))
                await self._read(
                    repository, channel, _Writing(answer, write), answers=v2 and capabilities.version == _V2
                )
                answer.finish()
                channel.write(FLUSH)
                return capabilities.object_format

        return await self._in_any_version(repository, exchange)

    async def _in_any_version(self, repository: Repository, exchange: _Exchange[_T]) -> _T:
        """In v2, or in v0 if v2 ends without output; v0 is remembered until it fails."""
        if self._old.get(repository.key) is None:
            try:
                return await exchange(v2=True)
            except GitEmptyAnswer:
                self._old.put(repository.owner, repository.key, True)
        try:
            return await exchange(v2=False)
        except GitProtocolError:
            self._old.pop(repository.key)
            raise

    async def _greeted(
        self, repository: Repository, channel: Channel, names: Collection[str]
    ) -> tuple[Capabilities, Mapping[str, RemoteRef]]:
        """The server's advertisement; in v0 and v1 the wanted references are in it."""
        parser = Advertisement(names, limit_bytes=self._limits.advertisement_bytes)
        await self._read(repository, channel, parser)
        capabilities = parser.finish()
        if capabilities.object_format not in {"sha1", "sha256"}:
            unknown = shown(capabilities.object_format)
            raise GitUnsupported(f"{repository}: the repository uses the unknown object format {unknown}")
        return capabilities, parser.refs

    async def _read(self, repository: Repository, channel: Channel, parser: _Parser, *, answers: bool = False) -> None:
        """Feed the parser until it has seen the end; `answers`: it is the answer to a request in v2.

        Raises:
            GitEmptyAnswer: The server's program ended at the request.
            GitError: The server ended the conversation before.
        """
        empty = answers
        while not parser.ended:
            try:
                async with asyncio.timeout(self._limits.idle_s):
                    data = await channel.read()
            except TimeoutError as error:
                raise GitTimeout(f"{repository} sent nothing for {self._limits.idle_s} s") from error
            if not data:
                ended = _ended(repository, channel)
                raise GitEmptyAnswer(str(ended)) if empty and type(ended) is GitProtocolError else ended
            empty = False
            self._observer.received(repository.host, len(data))
            parser.feed(data)


class _Writing:
    """Feeds a fetch's answer, and writes what comes out."""

    def __init__(self, answer: FetchAnswer, write: Callable[[bytes], object]) -> None:
        self._answer = answer
        self._write = write

    @property
    def ended(self) -> bool:
        """Whether the pack has ended."""
        return self._answer.ended

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for part in self._answer.feed(data):
            self._write(part)


def upload_pack(repository: Repository) -> str:
    """The command line for the server's shell, quoted as git does it.

    Raises:
        GitUnsupported: It is not an SSH URL, or its path could be taken for an option.
    """
    address = SshAddress.of(repository.url)
    if address is None or not address.path.isprintable():
        raise GitUnsupported(f"{repository}: this is no SSH URL; use git@host:path or ssh://[user@]host[:port]/path")
    if address.path.startswith("-"):
        raise GitUnsupported(f"{repository}: a path that begins with a dash is not sent to a server")
    quoted = address.path.replace("'", "'\\''").replace("!", "'\\!'")
    return f"git-upload-pack '{quoted}'"


def _ended(repository: Repository, channel: Channel) -> Exception:
    """Our error for a conversation that the server ended, by what it wrote to stderr."""
    stderr = channel.stderr
    lowered = stderr.lower()
    where = (
        f"{repository}: the server reports: {shown(stderr)}"
        if stderr
        else f"{repository}: the server ended the session"
    )
    if "not our ref" in lowered or "unadvertised object" in lowered:
        return GitReferenceNotFound(where)
    if any(
        words in lowered for words in ("not found", "not exist", "not appear to be a git", "no such", "cannot find")
    ):
        return GitNotFound(where)
    if any(words in lowered for words in ("denied", "not permitted", "permission", "not allowed", "authorized")):
        return GitForbidden(where)
    if stderr:
        return type(server_error(stderr))(where)
    return GitProtocolError(f"{where} without an answer; does it serve git?")
