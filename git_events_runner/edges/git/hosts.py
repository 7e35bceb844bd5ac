"""Good manners towards git servers: places and a pace for each host, and the pauses that a host asks for.

All questions to a host (name and port) share its places, its pace and its pauses, whoever asks, whatever credential;
those through a source's own proxy are apart, for that proxy may answer for the host.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from typing import Protocol

from git_events_runner.errors import GitRateLimited

from .limits import Limits
from .question import Repository

_REMEMBERED = 1024
_LONGEST_JITTER_S = 5.0
_JITTER = 0.1


class Observer(Protocol):
    """Counts what questions to git servers cost; `host` is its name and port, in lower case."""

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """One exchange ended; `reason` is that of its error."""

    def received(self, host: str, size: int) -> None:
        """So many bytes of answers came."""

    def shared(self, host: str) -> None:
        """A question was answered without an exchange of its own."""

    def backed_off(self, host: str) -> None:
        """A source, or the whole host, is left alone for a while."""


class Unobserved:
    """Counts nothing."""

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """Count nothing."""

    def received(self, host: str, size: int) -> None:
        """Count nothing."""

    def shared(self, host: str) -> None:
        """Count nothing."""

    def backed_off(self, host: str) -> None:
        """Count nothing."""


class _Host:
    """What is remembered of a host: free places, when the next question may leave, and until when it wants none."""

    __slots__ = ("asking", "next_at", "paused_s", "paused_until", "places")

    def __init__(self, concurrency: int) -> None:
        self.places = asyncio.Semaphore(concurrency)
        self.asking = 0
        self.next_at = 0.0
        self.paused_until = 0.0
        self.paused_s = 0.0

    def idle(self, now: float) -> bool:
        return not self.asking and self.next_at <= now and self.paused_until <= now


class Turn:
    """One question's place at its host while it is under way."""

    __slots__ = ("_host", "_hosts", "_repository")

    def __init__(self, hosts: Hosts, repository: Repository, host: _Host) -> None:
        self._hosts = hosts
        self._repository = repository
        self._host = host

    async def __aenter__(self) -> None:
        host = self._host
        host.asking += 1
        try:
            await host.places.acquire()
            try:
                await self._hosts.keep_pace(host, self._repository)
            except BaseException:
                host.places.release()
                raise
        except BaseException:
            host.asking -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._host.places.release()
        self._host.asking -= 1


class Hosts:
    """The hosts asked of late."""

    def __init__(self, *, limits: Limits, observer: Observer) -> None:
        self._limits = limits
        self._observer = observer
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    def turn(self, repository: Repository) -> Turn:
        """A place at the repository's host, for `async with`; entered when its pace allows one more question.

        Raises:
            GitRateLimited: On entering: the host asked for a pause, or so many questions wait that this one is better
                asked later.
        """
        return Turn(self, repository, self._of(repository.paced_as))

    def pause(self, repository: Repository, seconds: float) -> None:
        """Leave the repository's host alone for so many seconds."""
        host, until = self._of(repository.paced_as), asyncio.get_running_loop().time() + seconds
        if until > host.paused_until:
            host.paused_until, host.paused_s = until, seconds
            self._observer.backed_off(repository.host)

    async def keep_pace(self, host: _Host, repository: Repository) -> None:
        """Wait until the host's pace allows one more question.

        Raises:
            GitRateLimited: As `turn`.
        """
        limits, now = self._limits, asyncio.get_running_loop().time()
        if host.paused_until > now:
            left_s = host.paused_until - now
            raise GitRateLimited(
                f"{repository}: the server asks us to wait {host.paused_s:.0f} s",
                retry_after_s=left_s + random.uniform(0, min(_JITTER * left_s, _LONGEST_JITTER_S)),  # noqa: S311  jitter
            )
        # A bucket of `host_burst` tokens as one number: the time at which all of them are used up.
        step_s = 1 / limits.host_rate
        next_at = max(host.next_at, now - limits.host_burst * step_s) + step_s
        wait_s = next_at - now
        if wait_s > limits.deadline_s / 2:
            raise GitRateLimited(
                f"{repository}: more than {limits.host_rate:g} questions a second wait for this host (git.hostRate)",
                retry_after_s=wait_s,
            )
        host.next_at = next_at
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _of(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(self._limits.host_concurrency)
            self._forget()
        self._hosts.move_to_end(name)
        return host

    def _forget(self) -> None:
        """Drop the idle hosts asked longest ago when there are too many."""
        if len(self._hosts) <= _REMEMBERED:
            return
        now = asyncio.get_running_loop().time()
        for name in [name for name, host in self._hosts.items() if host.idle(now)][: len(self._hosts) - _REMEMBERED]:
            del self._hosts[name]
