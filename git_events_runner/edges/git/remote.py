"""The git servers as the rest of the program sees them: which commit is a reference, which files has a commit.

Who asks does not know the transport. Identical questions are shared: a caller gets the answer of an exchange that was
*sent after the call*, never of one already under way, so the answer is at least as new as the event that made the
caller ask. However many callers arrive while one exchange is under way, they all share the next one. A failure is
shared in the same way, and a time-out with everyone who waited for it, so that a server that hangs costs each of them
one deadline.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from git_events_runner.errors import GitError, GitReferenceNotFound, GitTimeout, GitUnsupported

from .limits import Limits, Transport
from .packs import read_tree
from .question import Answer, Question, Reference, Repository, TreeEntry, is_object_id

_T = TypeVar("_T")
# Reading a pack of this size takes about 5 ms; a larger one is read in a thread, so that the loop goes on.
_INLINE_BYTES = 16 * 1024
_Ask = Callable[[Callable[[], None]], Awaitable[_T]]


class _Lane(Generic[_T]):
    """One exchange at a time of one question; callers from the tick `sent` on need a newer one; -1: there is none."""

    __slots__ = ("__weakref__", "answer", "error", "lock", "sent")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.sent = -1
        self.answer: _T | None = None
        self.error: GitError | None = None


class Remote:
    """All git servers, over the transports given by scheme (`http`, `https`, …)."""

    def __init__(self, *, limits: Limits, transports: Mapping[str, Transport]) -> None:
        self._limits = limits
        self._transports = transports
        self._ticks = itertools.count()
        self._answers: WeakValueDictionary[Question, _Lane[Answer]] = WeakValueDictionary()
        self._trees: WeakValueDictionary[tuple[str, str], _Lane[list[TreeEntry]]] = WeakValueDictionary()
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def close(self) -> None:
        """Close the connections of all transports."""
        for transport in {id(each): each for each in self._transports.values()}.values():
            await transport.close()

    async def commit_of(self, question: Question) -> Answer:
        """The commit of a reference, from an exchange sent after this call. A commit is its own answer: it never moves.

        Raises:
            GitReferenceNotFound: No such branch or tag, no whole commit id, or an empty repository.
            GitError: Any other of its classes; at the latest after twice the deadline (once waiting for the exchange
                under way, once for the own).
        """
        reference, repository = question.reference, question.repository
        if reference.type == "commit":
            return Answer(commit=reference.commit, tag_object=None, sent_at=asyncio.get_running_loop().time())
        name = reference.full_name
        transport, place = self._transport(repository), self._place(repository)

        async def ask(sent: Callable[[], None]) -> Answer:
            async with place:
                sent()
                sent_at = asyncio.get_running_loop().time()
                ref = (await transport.ls_refs(repository, (name,))).get(name)
            if ref is None:
                raise GitReferenceNotFound(f"{repository} has no {reference} (looked for {name})")
            tag_object = ref.object_id if ref.peeled else None
            return Answer(commit=ref.peeled or ref.object_id, tag_object=tag_object, sent_at=sent_at)

        lane = self._answers.setdefault(question, _Lane())
        return await self._share(lane, question, ask)

    async def tree(self, repository: Repository, commit: str) -> list[TreeEntry]:
        """All files, links and submodules of a commit, in git's order; callers must not change the list.

        Raises:
            GitReferenceNotFound: The server does not have the commit any more, or does not give it.
            GitTooLarge: A limit was passed.
            GitError: Any other of its classes.
        """
        if not is_object_id(commit):
            raise GitReferenceNotFound(f"{repository}: a tree is asked for by a whole commit id")
        transport, place = self._transport(repository), self._place(repository)

        async def ask(sent: Callable[[], None]) -> list[TreeEntry]:
            pack = bytearray()
            async with place:
                sent()
                form = await transport.fetch(repository, commit, blobless=True, write=pack.extend)
            if len(pack) <= _INLINE_BYTES:
                return read_tree(pack, commit, form, self._limits)
            return await asyncio.to_thread(read_tree, pack, commit, form, self._limits)

        lane = self._trees.setdefault((repository.key, commit), _Lane())
        return await self._share(lane, Question(repository, Reference("commit", commit)), ask, moves=False)

    async def pack(self, repository: Repository, commit: str, *, write: Callable[[bytes], object]) -> str:
        """Write the whole pack of a commit without history; gives the object format, `sha1` or `sha256`. Not shared.

        Raises:
            GitReferenceNotFound: The server does not have the commit, or does not give it.
            GitError: Any other of its classes.
        """
        transport = self._transport(repository)
        try:
            async with asyncio.timeout(self._limits.deadline_s), self._place(repository):
                return await transport.fetch(repository, commit, blobless=False, write=write)
        except TimeoutError as error:
            raise GitTimeout(
                f"{repository}: fetching {commit} took longer than {self._limits.deadline_s:g} s"
            ) from error

    def _transport(self, repository: Repository) -> Transport:
        transport = self._transports.get(repository.scheme)
        if transport is None:
            raise GitUnsupported(
                f"{repository}: {repository.scheme} is not supported by this build; use an http(s) URL"
            )
        return transport

    def _place(self, repository: Repository) -> asyncio.Semaphore:
        """The places at a host; forgotten with the last question that needs one."""
        return self._hosts.setdefault(repository.host, asyncio.Semaphore(self._limits.host_concurrency))

    async def _share(self, lane: _Lane[_T], question: Question, ask: _Ask[_T], *, moves: bool = True) -> _T:
        """The lane's answer if it was sent after this call (or never `moves`), else that of a new exchange."""
        asked = next(self._ticks)
        async with lane.lock:
            if lane.sent < asked:
                await self._exchange(lane, question, ask, moves=moves)
            if lane.error is not None:
                raise lane.error.with_traceback(None)
            return lane.answer  # type: ignore[return-value]  # an exchange without an error left an answer

    async def _exchange(self, lane: _Lane[_T], question: Question, ask: _Ask[_T], *, moves: bool) -> None:
        tick: int | None = None

        def sent() -> None:
            nonlocal tick
            tick = next(self._ticks)

        # Cancelled from here on, the lane holds nothing, and the next one who waits asks anew.
        lane.sent, lane.answer, lane.error = -1, None, None
        shared_until_now = not moves
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                lane.answer = await ask(sent)
        except TimeoutError:
            lane.error = GitTimeout(
                f"{question.repository}: asking for {question.reference} took longer than {self._limits.deadline_s:g} s"
            )
            shared_until_now = True
        except GitError as error:
            lane.error = error
        lane.sent = next(self._ticks) if shared_until_now or tick is None else tick
