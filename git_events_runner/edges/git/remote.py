"""The git servers as the rest of the program sees them: which commit is a reference, which files has a commit.

Who asks does not know the transport. Questions about one repository are asked one exchange at a time: those that wait
meanwhile become one exchange with all their references, and each caller gets the answer of an exchange that was *sent
after its call*, never of one already under way, so that it is at least as new as the event that made the caller ask.
A failure is shared in the same way, and a time-out with everyone who waited for it, so that a server that hangs costs
each of them one deadline. A repository that fails is left alone for a while (`Backoffs`), a host that is busy gets no
more than its pace (`Hosts`). What never changes, the files of a commit, is asked once and kept within bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from weakref import WeakValueDictionary

from git_events_runner.errors import (
    GitError,
    GitProtocolError,
    GitRateLimited,
    GitReferenceNotFound,
    GitTimeout,
    GitTooLarge,
    GitUnsupported,
)
from git_events_runner.pools import Pool

from .backoffs import Backoffs
from .hosts import Hosts, Observer, Unobserved
from .limits import Limits, Transport
from .packs import read_tree
from .protocol import RemoteRef
from .question import Answer, Question, Reference, Repository, TreeEntry, is_object_id, shown
from .sharing import Once, Recent

_T = TypeVar("_T")
# Reading a pack of this size takes about 5 ms; a larger one is read in a thread, so that the loop goes on.
_INLINE_BYTES = 16 * 1024
# Git reads 65,536 prefixes and then ignores them all; a request of so many names stays below 64 KiB.
_NAMES_AT_ONCE = 256
_COMMITS_KNOWN = 16_384
_Refs = tuple[Mapping[str, RemoteRef], float]


class _Batch(Once[_Refs]):
    """Questions about one repository that will be one exchange; `urgent`: one of them may not be put off."""

    __slots__ = ("names", "urgent")

    def __init__(self, lock: asyncio.Lock) -> None:
        super().__init__(lock)
        self.names: set[str] = set()
        self.urgent = False


class _Lane:
    """The questions about one repository: one batch is under way (it holds the lock), newcomers join the next."""

    __slots__ = ("asking", "lock", "next")

    def __init__(self) -> None:
        self.asking = 0
        self.lock = asyncio.Lock()
        self.next: _Batch | None = None

    def join(self, name: str, *, urgent: bool) -> _Batch:
        batch = self.next
        if batch is None or len(batch.names) >= _NAMES_AT_ONCE:
            batch = self.next = _Batch(self.lock)
        batch.names.add(name)
        batch.urgent = batch.urgent or urgent
        return batch

    def leave(self, batch: _Batch) -> None:
        """The batch is about to be sent: nobody may join it any more."""
        if self.next is batch:
            self.next = None


class Remote:
    """All git servers, over the transports given by scheme (`http`, `https`, …)."""

    def __init__(
        self,
        *,
        limits: Limits,
        transports: Mapping[str, Transport],
        hosts: Hosts | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Without `hosts` and `observer` it paces itself and is counted by nobody (as the cloner wants it)."""
        self._limits = limits
        self._transports = transports
        self._observer = observer or Unobserved()
        self._hosts = hosts or Hosts(limits=limits, observer=self._observer)
        self._backoffs = Backoffs()
        self._lanes: dict[str, _Lane] = {}
        self._pool = Pool("trees", threads=2, own=1)
        self._fetches: WeakValueDictionary[tuple[str, str], Once[list[TreeEntry]]] = WeakValueDictionary()
        self._trees: Recent[tuple[str, str], list[TreeEntry]] = Recent(limit=limits.kept_entries, weigh=_entries)
        self._too_large: Recent[tuple[str, str], GitTooLarge] = Recent(limit=_COMMITS_KNOWN, weigh=_one)
        self._commits: Recent[tuple[str, str], str] = Recent(limit=_COMMITS_KNOWN, weigh=_one)

    async def close(self) -> None:
        """Close the connections of all transports."""
        for transport in {id(each): each for each in self._transports.values()}.values():
            await transport.close()

    async def commit_of(self, question: Question, *, urgent: bool = False) -> Answer:
        """The commit of a reference, from an exchange sent after this call.

        A commit is its own answer, once it has been found; it is looked for until then, and never again.

        Args:
            question: The reference and its repository.
            urgent: Ask even if the repository failed a moment ago (somebody says that it has changed).

        Raises:
            GitReferenceNotFound: No such branch, tag or commit, no whole commit id, or an empty repository.
            GitError: Any other of its classes; at the latest after twice the deadline (once waiting for the exchange
                under way, once for the own).
        """
        reference, repository = question.reference, question.repository
        if reference.type == "commit":
            return await self._known(repository, reference, urgent=urgent)
        name = reference.full_name
        transport = self._transport(repository)
        lane = self._lanes.get(repository.key)
        if lane is None:
            lane = self._lanes[repository.key] = _Lane()
        lane.asking += 1
        batch = lane.join(name, urgent=urgent)
        own = False

        async def ask() -> _Refs:
            nonlocal own
            own = True
            return await self._ls_refs(lane, batch, transport, repository)

        try:
            refs, sent_at = await batch.get(ask)
        finally:
            lane.asking -= 1
            if not lane.asking:
                del self._lanes[repository.key]
            if not own:
                self._observer.shared(repository.host)
        ref = refs.get(name)
        if ref is None:
            raise GitReferenceNotFound(f"{repository} has no {reference} (looked for {shown(name)})")
        return Answer(
            commit=ref.peeled or ref.object_id, tag_object=ref.object_id if ref.peeled else None, sent_at=sent_at
        )

    async def tree(self, repository: Repository, commit: str, *, urgent: bool = False) -> list[TreeEntry]:
        """All files, links and submodules of a commit, in git's order; callers must not change the list.

        Raises:
            GitReferenceNotFound: The server does not have the commit any more, or does not give it.
            GitTooLarge: A limit was passed.
            GitError: Any other of its classes.
        """
        if not is_object_id(commit):
            raise GitReferenceNotFound(f"{repository}: a tree is asked for by a whole commit id")
        key = (repository.key, commit)
        kept = self._trees.get(key)
        if kept is not None:
            self._observer.shared(repository.host)
            return kept
        if (too_large := self._too_large.get(key)) is not None:
            raise too_large.with_traceback(None)
        transport = self._transport(repository)
        fetch = self._fetches.get(key)
        if fetch is None or fetch.done:
            fetch = self._fetches[key] = Once(asyncio.Lock())
        own = False

        async def ask() -> list[TreeEntry]:
            nonlocal own
            own = True
            try:
                found = await self._fetch(transport, repository, commit, urgent=urgent)
            except GitTooLarge as error:
                self._too_large.put(key, error)
                raise
            self._trees.put(key, found)
            return found

        try:
            return await fetch.get(ask)
        finally:
            if not own:
                self._observer.shared(repository.host)

    async def pack(self, repository: Repository, commit: str, *, write: Callable[[bytes], object]) -> str:
        """Write the whole pack of a commit without history; gives the object format, `sha1` or `sha256`. Not shared.

        Raises:
            GitReferenceNotFound: The server does not have the commit, or does not give it.
            GitError: Any other of its classes.
        """
        transport = self._transport(repository)

        async def ask() -> str:
            async with self._hosts.turn(repository):
                return await transport.fetch(repository, commit, blobless=False, write=write)

        return await self._in_time(repository, f"fetching {commit}", ask())

    async def _known(self, repository: Repository, reference: Reference, *, urgent: bool) -> Answer:
        """A commit reference: itself, when the server has been seen to have it."""
        sent_at, commit = asyncio.get_running_loop().time(), reference.commit
        key = (repository.key, commit)
        if self._commits.get(key) is None:
            with contextlib.suppress(GitTooLarge):  # then it is there: a server that lacks it sends nothing of it
                await self.tree(repository, commit, urgent=urgent)
            self._commits.put(key, commit)
        else:
            self._observer.shared(repository.host)
        return Answer(commit=commit, tag_object=None, sent_at=sent_at)

    async def _ls_refs(self, lane: _Lane, batch: _Batch, transport: Transport, repository: Repository) -> _Refs:
        sent_at = 0.0

        async def ask(now: float) -> Mapping[str, RemoteRef]:
            nonlocal sent_at
            sent_at = now
            lane.leave(batch)
            return await transport.ls_refs(repository, batch.names)

        await asyncio.sleep(0)  # callers of the same moment are one exchange
        try:
            refs = await self._exchange(repository, "asking for references", ask, urgent=batch.urgent)
        except GitTimeout as error:
            waiting, lane.next = lane.next, None
            if waiting is not None:
                waiting.fail(error)
            raise
        finally:
            lane.leave(batch)
        return refs, sent_at

    async def _fetch(
        self, transport: Transport, repository: Repository, commit: str, *, urgent: bool
    ) -> list[TreeEntry]:
        pack = bytearray()

        async def ask(_: float) -> str:
            return await transport.fetch(repository, commit, blobless=True, write=pack.extend)

        form = await self._exchange(repository, f"fetching the files of {commit}", ask, urgent=urgent)
        try:
            if len(pack) <= _INLINE_BYTES:
                return read_tree(pack, commit, form, self._limits)
            return await self._pool.run(read_tree, pack, commit, form, self._limits, owner=repository.owner)
        except GitProtocolError as error:
            self._failed(repository, error)
            raise

    async def _exchange(
        self, repository: Repository, doing: str, ask: Callable[[float], Awaitable[_T]], *, urgent: bool
    ) -> _T:
        """One exchange in time, unless the repository is to be left alone; `ask` is told when it begins."""
        key, loop = repository.key, asyncio.get_running_loop()
        if urgent:
            self._backoffs.forget(key)
        else:
            self._backoffs.check(key, loop.time())
        sent_at: float | None = None
        reason: str | None = "Cancelled"

        async def asking() -> _T:
            nonlocal sent_at
            async with self._hosts.turn(repository):
                sent_at = loop.time()
                return await ask(sent_at)

        try:
            found = await self._in_time(repository, doing, asking())
        except GitError as error:
            reason = error.reason
            if isinstance(error, GitRateLimited) and sent_at is not None:
                self._hosts.pause(repository, error.retry_after_s)
            self._failed(repository, error)
            raise
        else:
            reason = None
            self._backoffs.forget(key)
            return found
        finally:
            if sent_at is not None:
                self._observer.exchanged(repository.host, seconds=loop.time() - sent_at, reason=reason)

    def _failed(self, repository: Repository, error: GitError) -> None:
        if self._backoffs.failed(repository.key, error, asyncio.get_running_loop().time()):
            self._observer.backed_off(repository.host)

    async def _in_time(self, repository: Repository, doing: str, asking: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                return await asking
        except TimeoutError as error:
            raise GitTimeout(f"{repository}: {doing} took longer than {self._limits.deadline_s:g} s") from error

    def _transport(self, repository: Repository) -> Transport:
        repository.check()
        transport = self._transports.get(repository.scheme)
        if transport is None:
            known = ", ".join(sorted(self._transports))
            raise GitUnsupported(f"{repository}: {repository.scheme} URLs are not allowed here; use one of {known}")
        return transport


def _entries(tree: list[TreeEntry]) -> int:
    return len(tree) + 1


def _one(_: object) -> int:
    return 1
