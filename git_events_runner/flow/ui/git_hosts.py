"""Results of this replica's requests to git servers since its start: it records them and passes them on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from git_events_runner.concurrency.bounded_dict import BoundedDict

from .facts import HostFacts

_KEPT = 1024


class Observer(Protocol):
    """Counts requests to git servers; as `edges/git/rate_limits` declares it."""

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """One exchange ended; `reason` is that of its error."""

    def received(self, host: str, size: int) -> None:
        """So many bytes were received."""

    def shared(self, host: str) -> None:
        """A request shared the response to another one."""

    def backed_off(self, host: str, *, seconds: float, throttled: bool) -> None:
        """A source backs off for so many seconds; `throttled`: because the host requested it."""


class GitHosts:
    """Keeps the last result of each host, for at most a thousand of them."""

    def __init__(self, *, observer: Observer, now: Callable[[], datetime]) -> None:
        """`observer` gets everything too."""
        self._observer = observer
        self._now = now
        self._hosts: BoundedDict[str, HostFacts] = BoundedDict(_KEPT)

    def facts(self) -> list[HostFacts]:
        """The known state of each host."""
        return list(self._hosts.values())

    def keep_hosts(self, hosts: Collection[str]) -> None:
        """Keep only these hosts: no source names another one."""
        for host in self._hosts.keys() - set(hosts):
            del self._hosts[host]

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """Note the result; a success ends the problem before it."""
        self._observer.exchanged(host, seconds=seconds, reason=reason)
        known, now = self._of(host), self._now()
        failed = reason is not None
        self._put(
            replace(
                known,
                requests=known.requests + 1,
                failures=known.failures + int(failed),
                last_at=known.last_at if failed else now,
                last_problem=reason or "",
                problem_at=now if failed else None,
            )
        )

    def received(self, host: str, size: int) -> None:
        """Pass it on."""
        self._observer.received(host, size)

    def shared(self, host: str) -> None:
        """Pass it on."""
        self._observer.shared(host)

    def backed_off(self, host: str, *, seconds: float, throttled: bool) -> None:
        """Note until when the host throttles requests."""
        self._observer.backed_off(host, seconds=seconds, throttled=throttled)
        if throttled:
            until = self._now() + timedelta(seconds=seconds)
            self._put(replace(self._of(host), backs_off_until=until))

    def _of(self, host: str) -> HostFacts:
        return self._hosts.get(host) or HostFacts(host=host)

    def _put(self, facts: HostFacts) -> None:
        self._hosts[facts.host] = facts
