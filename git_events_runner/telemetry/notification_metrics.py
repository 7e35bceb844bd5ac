"""Metrics of messages to the receivers of Notifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from prometheus_client import Counter, Gauge

from git_events_runner.resources.ref import Ref

_NOTIFIER = ("namespace", "notifier_kind", "notifier_name")
_TYPES = ("commit-status", "webhook", "cloudevents", "chat")


class NotificationMetrics:
    """Series of each Notifier; they are removed with it."""

    def __init__(self, *, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        """The metrics, created by the functions that register and prefix them."""
        self._sent = counter("notifications_sent", "Messages that a receiver accepted", *_NOTIFIER, "type")
        self._failed = counter(
            "notifications_failed", "Attempts to send a message that the receiver did not accept", *_NOTIFIER, "type"
        )
        self._pending = gauge("notifications_pending", "Messages that wait (on the leader)", *_NOTIFIER)
        self._age_s = gauge(
            "notifications_oldest_pending_seconds", "How long the oldest message has waited (on the leader)", *_NOTIFIER
        )
        self._shown: set[Ref] = set()

    def sent(self, notifier: Ref, kind: str) -> None:
        """A receiver accepted a message of that type."""
        self._sent.labels(*_labels(notifier), kind).inc()

    def failed(self, notifier: Ref, kind: str) -> None:
        """A receiver did not accept a message of that type."""
        self._failed.labels(*_labels(notifier), kind).inc()

    def pending(self, found: Mapping[Ref, tuple[int, float]]) -> None:
        """How many messages of each Notifier wait, and for how many seconds the oldest has; others have no series."""
        for notifier in self._shown - found.keys():
            self._pending.remove(*_labels(notifier))
            self._age_s.remove(*_labels(notifier))
        for notifier, (count, age_s) in found.items():
            self._pending.labels(*_labels(notifier)).set(count)
            self._age_s.labels(*_labels(notifier)).set(age_s)
        self._shown = set(found)

    def forget(self, notifier: Ref) -> None:
        """A Notifier is deleted: its series end."""
        for counter in (self._sent, self._failed):
            for kind in _TYPES:
                with suppress(KeyError):
                    counter.remove(*_labels(notifier), kind)


def _labels(ref: Ref) -> tuple[str, str, str]:
    return ref.namespace or "", ref.kind, ref.name
