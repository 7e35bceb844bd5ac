"""The git servers as the rest of the program uses them: the commit of a reference, the files of a commit.

Callers do not know the transport. Requests of one namespace to one repository are sent one exchange at a time:
those that wait meanwhile become one exchange with all their references, and each caller gets the answer of an exchange
that was *sent after its call*, never of one already under way, so it is at least as new as the event that caused the
call. Requests of other namespaces with the same credential join an exchange that is about to be sent, and do not wait
for one under way. If one of the requests may have caused a failure, each namespace sends its own again. A repository
that fails backs off (`Backoffs`), a host that is busy gets no more than its rate (`HostRateLimits`). The files of a
commit never change: they are requested once and kept within bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from weakref import WeakValueDictionary

from git_events_runner.concurrency.fairness import Room, equal, no_room
from git_events_runner.errors import (
    GitReferenceNotFound,
    GitTimeout,
    GitTooLarge,
    GitTooManyReferences,
    GitUnsupported,
)
from git_events_runner.resources.commits import CommitText

from .backoff import Backoffs
from .commits import CommitTexts
from .exchange import BY_REQUEST, Exchanges, affects_one_namespace
from .limits import Limits, Transport
from .pack_front import PackFront
from .packs import Tree
from .partial import fetch_partial
from .protocol import BELOW, RemoteRef
from .rate_limits import HostRateLimits, Observer, Unobserved
from .repository_cache import RepositoryCache
from .request import GitRequest, Reference, ReferenceList, Repository, ResolvedReference, is_object_id, shown
from .shape import ONE_COMMIT, FetchShape
from .single_flight import Batch, Lane, Refs, Shared
from .tree_cache import TreeCache
from .tree_fetcher import TreeFetcher

_MAY_BE_COMMITS = frozenset({"commit", "unknown"})
_HEAD = "HEAD"
_LISTS = "#references"


class Remote:
    """All git servers, over the transports given by scheme (`http`, `https`, …)."""

    def __init__(
        self,
        *,
        limits: Limits,
        transports: Mapping[str, Transport],
        hosts: HostRateLimits | None = None,
        observer: Observer | None = None,
        room: Room = no_room,
    ) -> None:
        """Without `hosts` it has its own rate limits, without `observer` no metrics (as the cloner needs it).

        `room` is how many repositories of a namespace are remembered in any case.
        """
        self._limits = limits
        self._transports = transports
        self._observer = observer or Unobserved()
        self._hosts = hosts or HostRateLimits(limits=limits, observer=self._observer, weight=equal)
        self._exchanges = Exchanges(
            deadline_s=limits.deadline_s,
            hosts=self._hosts,
            backoffs=Backoffs(limit=4 * limits.remembered, room=room),
            observer=self._observer,
        )
        self._remembered = RepositoryCache(limit=limits.remembered, room=room)
        self._tree_fetcher = TreeFetcher(limits=limits, exchanges=self._exchanges, remembered=self._remembered)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._leaving: dict[str, Batch] = {}  # by repository: begun, and not sent yet
        self._fetches: WeakValueDictionary[tuple[str, str], Shared[Tree]] = WeakValueDictionary()
        self._texts = CommitTexts(limits=limits, exchanges=self._exchanges, remembered=self._remembered)
        self._trees = TreeCache(limit=limits.kept_entries)

    async def close(self) -> None:
        """Close the connections of all transports."""
        for transport in {id(each): each for each in self._transports.values()}.values():
            await transport.close()

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of repositories that are no longer configured, by `Repository.key`."""
        for transport in {id(each): each for each in self._transports.values()}.values():
            transport.forget(keys)
        self._exchanges.forget(keys)
        self._remembered.forget(keys)
        self._trees.forget(keys)

    async def commit_of(self, request: GitRequest, *, urgent: bool = False) -> ResolvedReference:
        """The commit of a reference, from an exchange sent after this call.

        A commit is its own answer, once it has been found; it is requested until then, and never again.

        `request` is the reference and its repository. `urgent` sends a request even if the repository failed a moment
        ago (an event reports a change).

        Raises:
            GitReferenceNotFound: No such branch, tag or commit, no full commit id, an empty repository, or a tag of
                something that is no commit.
            GitError: Any other of its classes; at the latest after twice the deadline (once waiting for the exchange
                under way, once for the own).
        """
        reference, repository = request.reference, request.repository
        if reference.type == "commit":
            return await self._known(repository, reference, urgent=urgent)
        name = reference.full_name
        refs, sent_at = await self._refs(repository, (name,), urgent=urgent)
        ref = refs.get(name)
        if ref is None:
            raise GitReferenceNotFound(f"{repository} has no {reference} (looked for {shown(name)})")
        await self._check_kind(request, ref.peeled or ref.object_id, urgent=urgent)
        return ResolvedReference(
            commit=ref.peeled or ref.object_id, tag_object=ref.object_id if ref.peeled else None, sent_at=sent_at
        )

    async def references(
        self, repository: Repository, prefixes: Collection[str], *, urgent: bool = False
    ) -> ReferenceList:
        """The references whose full names begin like this, from an exchange sent after this call.

        Calls that list references of a repository share exchanges only with each other: the lists of other triggers may
        be too large for one answer.

        Raises:
            GitTooManyReferences: There are more than are read.
            GitError: Any other of its classes.
        """
        names = (_HEAD, *(prefix + BELOW for prefix in prefixes))
        try:
            refs, sent_at = await self._refs(repository, names, urgent=urgent, place=_LISTS)
        except GitTooManyReferences:
            raise
        except GitTooLarge as error:
            raise GitTooManyReferences(f"{repository}: {error}; narrow the patterns of watchOn.references") from error
        begins = tuple(prefixes)
        found = {
            name: (ref.peeled or ref.object_id, ref.object_id if ref.peeled else None)
            for name, ref in refs.items()
            if name.startswith(begins)
        }
        return ReferenceList(refs=found, alive=bool(found) or _HEAD in refs, sent_at=sent_at)

    async def tree(self, repository: Repository, commit: str, *, urgent: bool = False) -> Tree:
        """All files, links and submodules of a commit, in git's order.

        While a caller holds a large one, no other large one is fetched for that namespace: drop it soon.

        Raises:
            GitReferenceNotFound: The server does not have the commit any more, or does not give it.
            GitTooLarge: A limit was passed.
            GitError: Any other of its classes.
        """
        if not is_object_id(commit):
            raise GitReferenceNotFound(f"{repository}: a tree is requested by a full commit id")
        key = (repository.key, commit)
        kept = self._trees.get(key)
        if kept is not None:
            self._observer.shared(repository.host)
            return kept
        if (too_large := self._remembered.too_large.get(key)) is not None:
            raise too_large.with_traceback(None)
        transport = self._transport(repository)
        fetch = self._fetches.get(key)
        if fetch is None or fetch.done:
            fetch = self._fetches[key] = Shared(asyncio.Lock())
        fetch.join(repository.owner)
        shared, own = fetch, False

        async def send() -> Tree:
            nonlocal own
            own = True
            try:
                found = await self._tree_fetcher.fetch(shared, transport, repository, commit, urgent=urgent)
            except GitTooLarge as error:
                self._remembered.too_large.put(repository.owner, key, error)
                raise
            if self._remembered.large.get(repository.key) is None:
                self._trees.put(key, found, repository.owner)
            return found

        try:
            return await fetch.get(send)
        finally:
            if not own:
                self._observer.shared(repository.host)

    async def _check_kind(self, request: GitRequest, object_id: str, *, urgent: bool) -> None:
        """Accept only a reference to a commit; git ensures that branches are.

        Raises:
            GitReferenceNotFound: It points to something else.
            GitError: Any other of its classes.
        """
        if request.reference.full_name.startswith("refs/heads/"):
            return
        kind = await self._kind(request.repository, object_id, urgent=urgent)
        if kind not in _MAY_BE_COMMITS:
            raise GitReferenceNotFound(f"{request.repository}: {request.reference} points to a {kind}, not to a commit")

    async def _kind(self, repository: Repository, object_id: str, *, urgent: bool) -> str:
        """What an object is (`commit`, `tree`, `blob`), from the beginning of its pack, once for each; or `unknown`."""
        key = (repository.key, object_id)
        if self._remembered.commits.get(key) is not None:
            return "commit"
        if (known := self._remembered.kinds.get(key)) is not None:
            return known
        transport, shared = self._transport(repository), Shared[str](asyncio.Lock())
        shared.join(repository.owner)
        front = PackFront()

        async def send(_: float) -> str:
            with contextlib.suppress(PackFront.Seen, GitReferenceNotFound, GitTooLarge):
                await fetch_partial(transport, repository, object_id, write=front.feed)
            return front.kind

        doing = f"requesting the type of {object_id}"
        kind = await self._exchanges.send(repository, doing, send, urgent=urgent, shared=shared, part=object_id)
        self._remembered.kinds.put(repository.owner, key, kind)
        return kind

    async def commit_text(self, repository: Repository, commit: str) -> CommitText:
        """Author and message of a commit, fetched once: without trees and files, if the server can leave them out.

        Raises:
            GitError: Any of its classes.
        """
        return await self._texts.get(self._transport(repository), repository, commit)

    async def pack(
        self,
        repository: Repository,
        commit: str,
        *,
        write: Callable[[bytes], object],
        blobless: bool = False,
        shape: FetchShape = ONE_COMMIT,
    ) -> str:
        """Write the complete pack of a commit; gives the object format, `sha1` or `sha256`. Not shared.

        `blobless`: without contents of files, if the server can leave them out. `shape`: with how much history.

        Raises:
            GitReferenceNotFound: The server does not have the commit, or does not give it.
            GitError: Any other of its classes.
        """
        transport = self._transport(repository)

        async def send() -> str:
            async with self._hosts.turn(repository):
                if blobless:
                    return await fetch_partial(transport, repository, commit, write=write, shape=shape)
                return await transport.fetch(repository, commit, blobless=False, write=write, shape=shape)

        return await self._exchanges.in_time(repository, f"fetching {commit}", send())

    async def _known(self, repository: Repository, reference: Reference, *, urgent: bool) -> ResolvedReference:
        """A commit reference: itself, once the server is known to have it."""
        sent_at, commit = asyncio.get_running_loop().time(), reference.commit
        key = (repository.key, commit)
        if self._remembered.commits.get(key) is None:
            with contextlib.suppress(GitTooLarge):  # then it exists: a server that lacks it sends nothing of it
                await self.tree(repository, commit, urgent=urgent)
            self._remembered.commits.put(repository.owner, key, commit)
        else:
            self._observer.shared(repository.host)
        return ResolvedReference(commit=commit, tag_object=None, sent_at=sent_at)

    async def _refs(self, repository: Repository, names: Collection[str], *, urgent: bool, place: str = "") -> Refs:
        """Those references of an exchange that is sent after this call, and when; calls of one `place` share it."""
        transport = self._transport(repository)
        batch = self._batch(repository, place)
        lane = batch.lane
        lane.active += 1
        batch.names.update(names)
        batch.urgent = batch.urgent or urgent
        batch.join(repository.owner)
        own = False

        async def send() -> Refs:
            nonlocal own
            own = True
            return await self._ls_refs(batch, transport, repository, place)

        try:
            return await batch.get(send)
        except BY_REQUEST as error:
            if not affects_one_namespace(batch, error):
                raise
            self._remembered.part(repository.owner, repository.key, asyncio.get_running_loop().time())
            if isinstance(error, GitTimeout):
                raise
        finally:
            lane.active -= 1
            if not lane.active:
                self._lanes.pop(lane.key, None)
            if not own:
                self._observer.shared(repository.host)
        return await self._refs(repository, names, urgent=urgent, place=place)

    def _batch(self, repository: Repository, place: str) -> Batch:
        """The exchange that a request joins: one about to be sent, for any namespace, else the next of its own."""
        now, leaving = asyncio.get_running_loop().time(), self._leaving.get(repository.key + place)
        if leaving is not None and not leaving.full and not self._remembered.apart(repository.key, now):
            began_at = now if leaving.began_at is None else leaving.began_at
            if now - began_at <= self._limits.deadline_s / 4:
                return leaving
        key = (repository.key + place, repository.owner)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        return lane.batch()

    async def _ls_refs(self, batch: Batch, transport: Transport, repository: Repository, place: str) -> Refs:
        sent_at, lane, loop = 0.0, batch.lane, asyncio.get_running_loop()

        async def send(now: float) -> Mapping[str, RemoteRef]:
            nonlocal sent_at
            sent_at = now
            self._leave(batch, repository.key + place)
            return await transport.ls_refs(repository, batch.names)

        batch.began_at = loop.time()
        self._leaving[repository.key + place] = batch
        try:
            await asyncio.sleep(0)  # callers of the same moment share one exchange
            refs = await self._exchanges.send(
                repository,
                "requesting references",
                send,
                urgent=batch.urgent,
                shared=batch,
                part=repository.owner + place,
            )
        except GitTimeout as error:
            waiting, lane.next = lane.next, None
            if waiting is not None:
                waiting.fail(error)
            raise
        finally:
            self._leave(batch, repository.key + place)
        return refs, sent_at

    def _leave(self, batch: Batch, key: str) -> None:
        batch.lane.leave(batch)
        if self._leaving.get(key) is batch:
            del self._leaving[key]

    def _transport(self, repository: Repository) -> Transport:
        repository.check()
        transport = self._transports.get(repository.scheme)
        if transport is None:
            known = ", ".join(sorted(self._transports))
            raise GitUnsupported(f"{repository}: {repository.scheme} URLs are not allowed here; use one of {known}")
        return transport
