"""Metrics of the requests to git servers; labels name the hosts of existing sources, all others are `other`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

OTHER = "other"
_EXCHANGE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """The series of one host, looked up once."""

    answered: Counter
    seconds: Histogram
    received: Counter
    shared: Counter
    backoffs: Counter


class GitMetrics:
    """Exchanges as `edges/git` reports them. Series are removed with the last source of their host (`keep_hosts`)."""

    def __init__(self, *, counter: Callable[..., Counter], histogram: Callable[..., Histogram]) -> None:
        """Make the metrics; `counter(name, text, *labels)` and `histogram(name, text, buckets, *labels)` register."""
        self._exchanges = counter(
            "git_exchanges", "Requests to git servers by outcome: answered, or the reason", "host", "outcome"
        )
        self._seconds = histogram(
            "git_exchange_duration_seconds", "Duration of requests to git servers", _EXCHANGE_S, "host"
        )
        self._bytes = counter("git_received_bytes", "Bytes of git servers' responses", "host")
        self._shared = counter("git_shared_answers", "Checks answered by another's request, or from memory", "host")
        self._backoffs = counter("git_backoffs", "Times that a source or a host backed off after a failure", "host")
        self._hosts: frozenset[str] = frozenset()
        self._series: dict[str, _Series] = {}

    def _of(self, host: str) -> _Series:
        """The series of a host; those of all hosts that no source names are one."""
        series = self._series.get(host)
        if series is None:
            name = host if host in self._hosts else OTHER
            if name != host and OTHER in self._series:
                return self._series[OTHER]
            series = self._series[name] = _Series(
                answered=self._exchanges.labels(name, "answered"),
                seconds=self._seconds.labels(name),
                received=self._bytes.labels(name),
                shared=self._shared.labels(name),
                backoffs=self._backoffs.labels(name),
            )
        return series

    def exchanged(self, host: str, *, seconds: float, reason: str | None) -> None:
        """One exchange ended; `reason` is that of its error."""
        series = self._of(host)
        if reason is None:
            series.answered.inc()
        else:
            self._exchanges.labels(host if host in self._hosts else OTHER, reason).inc()
        series.seconds.observe(seconds)

    def received(self, host: str, size: int) -> None:
        """So many bytes of answers came."""
        self._of(host).received.inc(size)

    def shared(self, host: str) -> None:
        """A request was answered without an exchange of its own."""
        self._of(host).shared.inc()

    def backed_off(self, host: str, *, seconds: float, throttled: bool) -> None:  # noqa: ARG002  they are counted alike
        """A source backs off."""
        self._of(host).backoffs.inc()

    def keep_hosts(self, hosts: Collection[str]) -> None:
        """These are the hosts of all sources; series of others end."""
        dropped, self._hosts = self._hosts - frozenset(hosts), frozenset(hosts)
        for host in dropped:
            self._series.pop(host, None)
            for metric in (self._exchanges, self._seconds, self._bytes, self._shared, self._backoffs):
                metric.remove_by_labels({"host": host})
