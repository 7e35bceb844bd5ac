"""Git over HTTP(S): one POST per request on a kept-alive connection (gitprotocol-http, gitprotocol-v2).

The first request to a repository detects by `GET info/refs` whether the server supports v2, and follows redirects;
later ones are one POST. If a server no longer understands them, the detection is repeated, once per request. If a
server's program ends without output in v2, the transport uses v0 from then on.
Names are resolved here and their addresses validated before any connection; through a proxy, the proxy resolves them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from git_events_runner.concurrency.fairness import FairCache, Room, no_room
from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.git.allowed_addresses import Addresses
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.protocol import (
    Advertisement,
    Capabilities,
    FetchAnswer,
    RemoteRef,
    fetch_request,
)
from git_events_runner.edges.git.rate_limits import HostRateLimits, Observer
from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.edges.git.shape import ONE_COMMIT, FetchShape
from git_events_runner.edges.git.single_flight import LruCache
from git_events_runner.errors import (
    GitCutOff,
    GitEmptyAnswer,
    GitError,
    GitNotFound,
    GitProtocolError,
    GitRedirectRefused,
    GitReferenceNotFound,
    GitTimeout,
    GitTlsError,
    GitUnsupported,
)

from .errors import (
    MOVED,
    GitProgramFailed,
    check_answer,
    exhausted_s,
    follow,
)
from .failures import translate
from .proxies import Proxies
from .repeated import LastResponse, RepeatedResponse
from .sessions import Sessions
from .trust import NO_CA, trusted_parts, trusting

_SERVICE = "git-upload-pack"
_ADVERTISEMENT = f"application/x-{_SERVICE}-advertisement"
_RESULT = f"application/x-{_SERVICE}-result"
_REQUEST = f"application/x-{_SERVICE}-request"
_POST_HEADERS = {"Content-Type": _REQUEST, "Accept": _RESULT}
_V2_HEADERS = {"Git-Protocol": "version=2"}
_REDIRECTS = 5
_CONTEXTS_BYTES = 4 * 2**20
_CONTEXT_BYTES = 16 * 1024  # what one takes in addition to its certificates
_V2 = 2


@dataclass(slots=True, kw_only=True)
class _Known:
    """What is known of a repository: its final URL, its server's protocol, and the server's last answer.

    `v2`: protocol v2 was offered to the server; False if its program fails at that.
    """

    post_url: URL
    moved: bool
    v2: bool
    capabilities: Capabilities
    last: LastResponse | None = None


class HttpTransport:
    """All HTTP(S) repositories over one session; connections are shared where the TLS settings are the same."""

    def __init__(
        self,
        *,
        limits: Limits,
        hosts: HostRateLimits,
        observer: Observer,
        addresses: Addresses,
        proxies: Proxies,
        room: Room = no_room,
    ) -> None:
        """`room` is how many repositories of a namespace are remembered in any case."""
        self._limits = limits
        self._hosts = hosts
        self._observer = observer
        self._addresses = addresses
        self.sessions = Sessions(limits=limits, addresses=addresses, proxies=proxies)
        self._known: FairCache[str, _Known] = FairCache(limit=limits.remembered, room=room)
        self._contexts: LruCache[str, tuple[ssl.SSLContext, int]] = LruCache(
            limit=_CONTEXTS_BYTES, weigh=lambda kept: kept[1] + _CONTEXT_BYTES
        )
        self._pool = Pool("certificates", threads=2, own=1)

    async def close(self) -> None:
        """Close the connections; the transport can be used again afterwards."""
        await self.sessions.close()

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of repositories that are no longer configured, by `Repository.key`."""
        for key in keys:
            self._known.pop(key)

    async def ls_refs(self, repository: Repository, names: Collection[str]) -> Mapping[str, RemoteRef]:
        """Those of the full reference names that exist.

        Raises:
            GitError: Any of its classes, by the failure.
        """

        async def list_once(known: _Known) -> Mapping[str, RemoteRef]:
            last = known.last
            if last is None or last.names != names:
                last = known.last = LastResponse(names, known.capabilities, self._limits.refs_bytes)
            taker = RepeatedResponse(last)
            await self._post(repository, known, last.request, taker.feed)
            return taker.finish()

        known = self._known.get(repository.key)
        if known is not None and (known.capabilities.version == _V2 or not known.v2):
            try:
                return await list_once(known) if known.v2 else (await self._learn(repository, names, v2=False))[1]
            except (GitProtocolError, GitRedirectRefused, GitNotFound) as error:
                if not _worth_learning(error, known):
                    raise
                self._known.pop(repository.key)
        known, refs = await self._learn(repository, names)
        if known.capabilities.version != _V2:
            return refs
        try:
            return await list_once(known)
        except (GitEmptyAnswer, GitProgramFailed):
            return (await self._in_v0(repository, names))[1]

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
        known = self._known.get(repository.key)
        if known is None:
            known, _ = await self._learn(repository, ())
        try:
            return await self._fetch(repository, known, commit, write, blobless=blobless, shape=shape)
        except GitEmptyAnswer:
            if known.capabilities.version != _V2:
                raise
            known, _ = await self._in_v0(repository, ())
            return await self._fetch(repository, known, commit, write, blobless=blobless, shape=shape)

    async def _fetch(
        self,
        repository: Repository,
        known: _Known,
        commit: str,
        write: Callable[[bytes], object],
        *,
        blobless: bool,
        shape: FetchShape,
    ) -> str:
        answer = FetchAnswer(known.capabilities, limit_bytes=self._limits.pack_bytes)

        def write_parts(data: bytes) -> None:
            for part in answer.feed(data):
                write(part)

        try:
            request = fetch_request(known.capabilities, commit, blobless=blobless, shape=shape)
            await self._post(repository, known, request, write_parts)
            answer.finish()
        except GitProgramFailed as error:
            # JGit (Gerrit) answers like this for a commit that it does not have.
            raise GitReferenceNotFound(f"{repository}: the server does not give {commit}") from error
        except (GitProtocolError, GitRedirectRefused, GitNotFound):
            self._known.pop(repository.key)
            raise
        return known.capabilities.object_format

    async def _in_v0(self, repository: Repository, names: Collection[str]) -> tuple[_Known, Mapping[str, RemoteRef]]:
        """The result of `_learn` for a server that ends without output in v2.

        Raises:
            GitError: It fails in v0 too, or answers in v2 only.
        """
        self._known.pop(repository.key)
        known, refs = await self._learn(repository, names, v2=False)
        if known.capabilities.version == _V2:
            self._known.pop(repository.key)
            raise GitProtocolError(f"{repository}: the server's git ends without an answer; see the server's log")
        return known, refs

    async def _learn(
        self, repository: Repository, names: Collection[str], *, v2: bool = True
    ) -> tuple[_Known, Mapping[str, RemoteRef]]:
        first_url = url = _advertisement_url(repository)
        self._addresses.check(url.raw_host or "")
        for _ in range(_REDIRECTS):
            parser = Advertisement(names, limit_bytes=self._limits.advertisement_bytes)
            target = await self._send(repository, "GET", url, b"", parser.feed, v2=v2)
            if target is None:
                known = _Known(
                    post_url=url.with_query(None).with_path(
                        url.raw_path[: -len("/info/refs")] + "/" + _SERVICE, encoded=True
                    ),
                    moved=url != first_url,
                    v2=v2,
                    capabilities=_known_format(parser.finish()),
                )
                self._known.put(repository.owner, repository.key, known)
                return known, parser.refs
            url = target
        raise GitRedirectRefused(f"{repository} redirects more than {_REDIRECTS} times")

    async def _post(self, repository: Repository, known: _Known, body: bytes, write: Callable[[bytes], object]) -> None:
        received = 0

        def count(data: bytes) -> None:
            nonlocal received
            received += len(data)
            write(data)

        version = known.capabilities.version
        try:
            target = await self._send(repository, "POST", known.post_url, body, count, v2=version == _V2)
        except GitCutOff as error:
            if received:
                raise
            raise GitEmptyAnswer(str(error)) from error
        if target is not None:
            raise GitRedirectRefused(f"{repository} redirects in the middle of a conversation")
        if not received:
            raise GitEmptyAnswer(f"{repository}: the server's git ended without an answer; see the server's log")

    async def _send(
        self,
        repository: Repository,
        method: str,
        url: URL,
        body: bytes,
        write: Callable[[bytes], object],
        *,
        v2: bool,
    ) -> URL | None:
        """One exchange; the URL redirected to, or None after `write` had the complete answer."""
        try:
            try:
                return await self._exchange(repository, method, url, body, write, v2=v2)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError, BrokenPipeError):
                # The server closed a kept-alive connection meanwhile; a second request changes nothing there.
                return await self._exchange(repository, method, url, body, write, v2=v2)
        except GitError:
            raise
        except aiohttp.ServerTimeoutError as error:
            raise GitTimeout(f"{repository} sent nothing for {self._limits.idle_s} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translate(repository, error) from error

    async def _exchange(
        self,
        repository: Repository,
        method: str,
        url: URL,
        body: bytes,
        write: Callable[[bytes], object],
        *,
        v2: bool,
    ) -> URL | None:
        headers = {**(_POST_HEADERS if body else {}), **(_V2_HEADERS if v2 else {})}
        if repository.credential is not None:
            headers = {**headers, "Authorization": repository.credential.authorization}
        size = 0
        context = await self.context(repository)
        async with self.sessions.request(
            repository, method, url, body=body, headers=headers, context=context
        ) as answer:
            if (wait_s := exhausted_s(answer)) is not None:
                self._hosts.pause(repository, wait_s)
            if answer.status in MOVED:
                return follow(repository, url, answer, "/info/refs" if method == "GET" else "/" + _SERVICE)
            check_answer(repository, answer, _RESULT if body else _ADVERTISEMENT)
            try:
                while data := await answer.content.readany():
                    size += len(data)
                    write(data)
            finally:
                self._observer.received(repository.host, size)
        return None

    def check_address(self, url: URL) -> None:
        """Refuse a URL whose host is an address that may not be connected to; names are validated once resolved.

        Raises:
            GitAddressRefused: The address is refused.
        """
        self._addresses.check(url.raw_host or "")

    async def context(self, repository: Repository) -> ssl.SSLContext | bool:
        """Which certificates are accepted for a repository: those of a context, the system's (True), or any (False).

        Raises:
            GitTlsError: The CA is not PEM.
        """
        if not repository.verify:
            return False
        if repository.ca_pem is None:
            return True
        kept = self._contexts.get(repository.ca_pem)
        if kept is None:
            context = None
            for part in trusted_parts(repository.ca_pem):
                context = await self._pool.run(trusting, repository, part, context, owner=repository.owner)
            if context is None:
                raise GitTlsError(f"{repository}: {NO_CA}")
            kept = (context, len(repository.ca_pem))
            self._contexts.put(repository.ca_pem, kept, repository.owner)
        return kept[0]


def _worth_learning(error: GitError, known: _Known) -> bool:
    """A repository found by a redirect may have moved again; otherwise 404 is an answer."""
    return known.moved or not isinstance(error, GitNotFound)


def _advertisement_url(repository: Repository) -> URL:
    try:
        url = URL(repository.url.rstrip("/"))
        if not url.host or url.scheme not in {"http", "https"}:
            raise GitUnsupported(f"{repository}: an http(s) URL with a host is needed")
        if url.user is not None or url.password is not None:
            raise GitUnsupported(f"{repository}: put the user name and password into a Secret, not into the URL")
        return url.with_path(url.raw_path.rstrip("/") + "/info/refs", encoded=True).update_query(service=_SERVICE)
    except ValueError as error:
        raise GitUnsupported(f"{repository}: this is not a URL") from error


def _known_format(capabilities: Capabilities) -> Capabilities:
    if capabilities.object_format not in {"sha1", "sha256"}:
        raise GitUnsupported(f"the repository uses the unknown object format {shown(capabilities.object_format)}")
    return capabilities
