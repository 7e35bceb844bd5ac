"""One exchange with a git server, with its deadline, slot at the host, back-off and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from git_events_runner.errors import GitError, GitProtocolError, GitRateLimited, GitTimeout, GitTooLarge

from .backoff import Backoffs
from .rate_limits import HostRateLimits, Observer
from .request import Repository
from .single_flight import Batch, Shared

_T = TypeVar("_T")
# Errors that a request may cause, not its repository: requests of other namespaces are not affected.
BY_REQUEST = (GitTooLarge, GitTimeout, GitProtocolError)


class Exchanges:
    """Sends exchanges of all repositories."""

    def __init__(self, *, deadline_s: float, hosts: HostRateLimits, backoffs: Backoffs, observer: Observer) -> None:
        self._deadline_s = deadline_s
        self._hosts = hosts
        self._backoffs = backoffs
        self._observer = observer

    def forget(self, keys: Collection[str]) -> None:
        """Drop the back-offs of repositories that are no longer configured."""
        self._backoffs.forget_all(keys)

    async def send(
        self,
        repository: Repository,
        doing: str,
        request: Callable[[float], Awaitable[_T]],
        *,
        urgent: bool,
        shared: Shared[Any],
        part: str,
    ) -> _T:
        """One exchange within the deadline, unless the repository backs off; `request` gets the time when it begins.

        Only `part` backs off if its requests may have caused the failure: those for a commit, or of a namespace.
        """
        keys, loop = (repository.key, f"{repository.key}/{part}"), asyncio.get_running_loop()
        for key in keys:
            if urgent:
                self._backoffs.forget(key)
            else:
                self._backoffs.check(key, loop.time())
        sent_at: float | None = None
        reason: str | None = "Cancelled"

        async def work() -> _T:
            nonlocal sent_at
            shared.turn = self._hosts.turn(repository, shared.namespaces)
            async with shared.turn:
                sent_at = loop.time()
                return await request(sent_at)

        try:
            found = await self.in_time(repository, doing, work())
        except GitError as error:
            reason = error.reason
            if isinstance(error, GitRateLimited) and sent_at is not None:
                self._hosts.pause(repository, error.retry_after_s)
            if not affects_one_namespace(shared, error):
                self.failed(repository, part, error)
            raise
        else:
            reason = None
            for key in keys:
                self._backoffs.forget(key)
            return found
        finally:
            if sent_at is not None:
                self._observer.exchanged(repository.host, seconds=loop.time() - sent_at, reason=reason)

    def failed(self, repository: Repository, part: str, error: GitError) -> None:
        """Let the repository, or that part of it, back off."""
        key = f"{repository.key}/{part}" if isinstance(error, BY_REQUEST) else repository.key
        now = asyncio.get_running_loop().time()
        if self._backoffs.failed(key, error, now, namespace=repository.owner):
            self._observer.backed_off(repository.host, seconds=error.retry_after_s or 0.0, throttled=False)

    async def in_time(self, repository: Repository, doing: str, work: Awaitable[_T]) -> _T:
        """The result, within the deadline.

        Raises:
            GitTimeout: It took longer.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                return await work
        except TimeoutError as error:
            raise GitTimeout(f"{repository}: {doing} took longer than {self._deadline_s:g} s") from error


def affects_one_namespace(shared: Shared[Any], error: GitError) -> bool:
    """Whether the references that one namespace requested may have caused the failure for the others."""
    return isinstance(shared, Batch) and len(shared.namespaces) > 1 and isinstance(error, BY_REQUEST)
