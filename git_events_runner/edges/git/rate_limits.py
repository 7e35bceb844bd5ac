"""Rate limiting towards git servers: slots and a rate for each host, and throttling by a host (`Retry-After`).

All requests to a host (name and port) share its slots and its rate, and namespaces have them in turn
(`concurrency/fairness`). Requests through a source's own proxy are separate, for that proxy may answer for the host.
Throttling (429, `Retry-After`) applies to the credential that received it, without a credential to the namespace. It
applies to all of the host, for a minute at most, if two credentials of two namespaces received it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from git_events_runner.concurrency.fairness import FairCache, Room, RoundRobin, Shares, Weight, no_room
from git_events_runner.errors import GitRateLimited

from .limits import Limits
from .request import Repository

_REMEMBERED = 1024
_PAUSES = 256
_LONGEST_HOST_PAUSE_S = 60.0
_LONGEST_JITTER_S = 5.0
_JITTER = 0.1
_TICK_S = 0.001  # timers of the loop may be this early
# One namespace may use three quarters of a host's slots, two may use three sevenths each.
_GREED = 3


class Observer(Protocol):
    """Counts what requests to git servers cost; `host` is its name and port, in lower case."""

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """One exchange ended; `reason` is that of its error."""

    def received(self, host: str, size: int) -> None:
        """So many bytes of answers came."""

    def shared(self, host: str) -> None:
        """A request was answered without an exchange of its own."""

    def backed_off(self, host: str, *, seconds: float, throttled: bool) -> None:
        """A source backs off for so many seconds; `throttled`: because the host requires it."""


class Unobserved:
    """Counts nothing."""

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """Count nothing."""

    def received(self, host: str, size: int) -> None:
        """Count nothing."""

    def shared(self, host: str) -> None:
        """Count nothing."""

    def backed_off(self, host: str, *, seconds: float, throttled: bool) -> None:
        """Count nothing."""


@dataclass(frozen=True, slots=True)
class _Pause:
    """Throttling of one credential by a host, in a request of one namespace, at the loop's time `at`."""

    namespace: str
    credential: str
    at: float
    seconds: float

    @property
    def until(self) -> float:
        return self.at + self.seconds

    def confirms(self, later: _Pause) -> bool:
        """Whether the limit is the host's: another namespace received it, by another credential, a short while ago."""
        recent = later.at - self.at <= _LONGEST_HOST_PAUSE_S
        return recent and self.namespace != later.namespace and self.credential != later.credential


class _Host:
    """What is remembered of a host: slots, waiting requests, when the next may be sent, and throttling."""

    __slots__ = ("active", "host_pause", "next_at", "pauses", "shares", "timer", "waiting")

    def __init__(self, concurrency: int, weight: Weight, room: Room) -> None:
        self.shares = Shares(total=concurrency, each=concurrency, weight=weight, greed=_GREED)
        self.waiting: RoundRobin[asyncio.Future[str]] = RoundRobin(weight=weight)
        self.active = 0
        self.next_at = 0.0
        self.timer: asyncio.TimerHandle | None = None  # of the next turn, while the rate is used up
        self.pauses: FairCache[tuple[str, str], _Pause] = FairCache(limit=_PAUSES, room=room)
        self.host_pause: _Pause | None = None

    def pause_of(self, namespace: str, credential: str, now: float) -> _Pause | None:
        """The throttling that applies to a request; None when it may be sent."""
        held = [self.pauses.get(_principal(namespace, credential)), self.host_pause]
        return max((pause for pause in held if pause and pause.until > now), key=lambda each: each.until, default=None)

    def pause(self, pause: _Pause, now: float) -> bool:
        """Record throttling; False if it already applies for longer."""
        key = _principal(pause.namespace, pause.credential)
        known = self.pauses.get(key)
        if known is not None and known.until >= pause.until:
            return False
        self.forget_past(now)
        for other in self.pauses:
            held = self.pauses.get(other)
            if held is not None and held.confirms(pause):
                seconds = min(held.until - now, pause.seconds, _LONGEST_HOST_PAUSE_S)
                if self.host_pause is None or self.host_pause.until < now + seconds:
                    self.host_pause = _Pause(pause.namespace, pause.credential, now, seconds)
        self.pauses.put(pause.namespace, key, pause)
        return True

    def forget_past(self, now: float) -> None:
        """Drop throttling that has ended."""
        for key in self.pauses:
            held = self.pauses.get(key)
            if held is None or held.until <= now:
                self.pauses.pop(key)


class Turn:
    """One request's slot at its host while it is under way; several namespaces may share the request."""

    __slots__ = ("_admitted", "_host", "_hosts", "_namespaces", "_repository", "_through")

    def __init__(self, hosts: HostRateLimits, repository: Repository, namespaces: set[str]) -> None:
        self._hosts = hosts
        self._repository = repository
        self._namespaces = namespaces
        self._host: _Host | None = None
        self._admitted: asyncio.Future[str] | None = None
        self._through: str | None = None

    def join(self, namespace: str) -> None:
        """Add a namespace to the request: it is sent at the first turn of any of them."""
        if namespace in self._namespaces:
            return
        self._namespaces.add(namespace)
        if self._host is not None and self._admitted is not None and not self._admitted.done():
            self._host.waiting.put(namespace, self._admitted)
            self._hosts.advance(self._host)

    async def __aenter__(self) -> None:
        host = self._host = self._hosts.enter(self._repository)
        try:
            self._hosts.check(host, self._repository, self._namespaces)
            await self._wait(host)
            self._hosts.check_pause(host, self._repository, self._namespaces)
        except BaseException:
            self._hosts.leave(host, self._repository, self._through)
            raise

    async def _wait(self, host: _Host) -> None:
        self._through = self._hosts.admit(host, self._namespaces)
        if self._through is not None:
            return
        admitted = self._admitted = asyncio.get_running_loop().create_future()
        for namespace in self._namespaces:
            host.waiting.put(namespace, admitted)
        try:
            self._hosts.advance(host)
            await admitted
        finally:
            if admitted.done() and not admitted.cancelled():
                self._through = admitted.result()
            for namespace in self._namespaces:
                host.waiting.discard(namespace, admitted)

    async def __aexit__(self, *_: object) -> None:
        if self._host is not None:
            self._hosts.leave(self._host, self._repository, self._through)


class HostRateLimits:
    """The hosts with requests under way, and those of which something is remembered."""

    def __init__(self, *, limits: Limits, observer: Observer, weight: Weight, room: Room = no_room) -> None:
        """`weight` is that of a namespace among the others, `room` how many hosts of one are remembered in any case."""
        self._limits = limits
        self._step_s = 1 / limits.host_rate
        self._observer = observer
        self._weight = weight
        self._room = room
        self._in_use: dict[str, _Host] = {}
        self._remembered: FairCache[str, _Host] = FairCache(limit=_REMEMBERED, room=room)

    def turn(self, repository: Repository, namespaces: set[str] | None = None) -> Turn:
        """A slot at the repository's host, for `async with`; entered when the host's rate allows one more request.

        Args:
            repository: Target of the request.
            namespaces: Those of a shared request, to which `Turn.join` adds; None: that of the repository.

        Raises:
            GitRateLimited: On entering: the host throttles, or so many requests of these namespaces wait that this one
                should be sent later.
        """
        return Turn(self, repository, {repository.owner} if namespaces is None else namespaces)

    def pause(self, repository: Repository, seconds: float) -> None:
        """Send nothing with this credential to the repository's host for so many seconds."""
        now, host = asyncio.get_running_loop().time(), self._of(repository)
        if host.pause(_Pause(repository.owner, repository.credential_key, now, seconds), now):
            self._observer.backed_off(repository.host, seconds=seconds, throttled=True)
        self._remember(host, repository)

    def enter(self, repository: Repository) -> _Host:
        """The repository's host, which has one more request under way from now on."""
        host = self._in_use[repository.throttled_as] = self._of(repository)
        host.active += 1
        return host

    def leave(self, host: _Host, repository: Repository, through: str | None) -> None:
        """The request of `enter` has ended; it had the slot of the namespace `through`, or none."""
        host.active -= 1
        if through is not None:
            host.shares.give_back(through)
            self.advance(host)
        if not host.active:
            self._in_use.pop(repository.throttled_as, None)
            self._remember(host, repository)

    def check(self, host: _Host, repository: Repository, namespaces: set[str]) -> None:
        """Return if the host does not throttle, and its rate allows a request of these namespaces soon.

        Raises:
            GitRateLimited: As `turn`.
        """
        self.check_pause(host, repository, namespaces)
        ahead = min(host.waiting.ahead(namespace) for namespace in namespaces)
        wait_s = self._wait_s(host) + ahead * self._step_s
        if wait_s > self._limits.deadline_s / 2:
            rate = f"{self._limits.host_rate:g} requests per second"
            raise GitRateLimited(
                f"{repository}: more than {rate} wait for this host (git.hostRate)", retry_after_s=wait_s
            )

    def check_pause(self, host: _Host, repository: Repository, namespaces: set[str]) -> None:
        """Return if the host does not throttle at least one of these namespaces.

        Raises:
            GitRateLimited: As `turn`.
        """
        if not len(host.pauses):
            return
        now, credential = asyncio.get_running_loop().time(), repository.credential_key
        pauses = [host.pause_of(namespace, credential, now) for namespace in namespaces]
        held = [pause for pause in pauses if pause is not None]
        if len(held) < len(pauses):
            return
        least = min(held, key=lambda pause: pause.until)
        left_s = least.until - now
        raise GitRateLimited(
            f"{repository}: the server throttles requests: wait {least.seconds:.0f} s",
            retry_after_s=left_s + random.uniform(0, min(_JITTER * left_s, _LONGEST_JITTER_S)),  # noqa: S311  jitter
        )

    def admit(self, host: _Host, namespaces: Collection[str]) -> str | None:
        """The namespace through which a request is sent immediately; None: it has to wait, or others do."""
        if len(host.waiting) or self._wait_s(host) > _TICK_S:
            return None
        through = next(filter(host.shares.may_acquire, namespaces), None)
        if through is not None:
            self._acquire(host, through)
        return through

    def _acquire(self, host: _Host, namespace: str) -> None:
        host.shares.acquire(namespace)
        host.next_at = self._refilled(host, asyncio.get_running_loop().time()) + self._step_s

    def advance(self, host: _Host) -> None:
        """Admit waiting requests in their turn, as far as slots and rate allow."""
        loop = asyncio.get_running_loop()
        while len(host.waiting):
            wait_s = self._wait_s(host)
            if wait_s > _TICK_S:
                host.timer = host.timer or loop.call_later(wait_s, self._tick, host)
                return
            taken = host.waiting.pop(host.shares.may_acquire)
            if taken is None:
                return
            namespace, admitted = taken
            if not admitted.done():
                self._acquire(host, namespace)
                admitted.set_result(namespace)

    def _tick(self, host: _Host) -> None:
        host.timer = None
        self.advance(host)

    def _refilled(self, host: _Host, now: float) -> float:
        """A bucket of `host_burst` tokens as one number: the time at which all of them are used up."""
        return max(host.next_at, now - self._limits.host_burst * self._step_s)

    def _wait_s(self, host: _Host) -> float:
        now = asyncio.get_running_loop().time()
        return self._refilled(host, now) + self._step_s - now

    def _of(self, repository: Repository) -> _Host:
        name = repository.throttled_as
        known = self._in_use.get(name) or self._remembered.get(name)
        return known or _Host(self._limits.host_concurrency, self._weight, self._room)

    def _remember(self, host: _Host, repository: Repository) -> None:
        """Keep a host without requests under way; forget it if there is nothing to remember."""
        if host.active:
            return
        now, name = asyncio.get_running_loop().time(), repository.throttled_as
        host.forget_past(now)
        if len(host.pauses) or host.next_at > now - self._limits.host_burst * self._step_s:
            self._remembered.put(repository.owner, name, host)
        else:
            self._remembered.pop(name)


def _principal(namespace: str, credential: str) -> tuple[str, str]:
    """To whom throttling applies: a credential, or without one the namespace."""
    return ("", credential) if credential else (namespace, "")
