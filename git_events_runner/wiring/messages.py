"""What sends messages about runs, and what decides which: joined for app.py."""

from __future__ import annotations

from collections.abc import Callable

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, SecretReader
from git_events_runner.flow.notifications import Notifications
from git_events_runner.settings import Settings
from git_events_runner.settings.runtime import RuntimeConfig
from git_events_runner.telemetry.metrics import Metrics

from .config import weight_of
from .messenger import Messenger
from .worker_logs import WorkerLogs

_DEADLINE_S = 40.0  # a receiver that takes half a minute is slow, and gets a message once


def messages(
    client: Client,
    settings: Settings,
    *,
    store: Store,
    secrets: SecretReader,
    events: EventRecorder,
    config: Callable[[], RuntimeConfig],
    metrics: Metrics,
) -> Notifications:
    """The messages of this replica while it is the leader; `config` has the addresses that are allowed."""
    now = client.clock.now
    messenger = Messenger(
        secrets=secrets,
        git=lambda: config().git,
        own_addresses=settings.own_addresses,
        loopback=settings.allow_loopback,
        simulate=not settings.send_notifications,
        deadline_s=_DEADLINE_S,
        now=now,
        logs=WorkerLogs(client, variables_prefix=lambda: config().action.containers.worker.variables_prefix),
    )
    return Notifications(
        api=client,
        store=store,
        send=messenger.send,
        close=messenger.close,
        announcer=events,
        metrics=metrics.notifications,
        request_timeout_s=max(settings.lease.duration_s - settings.lease.renew_deadline_s, 1.0),
        now=now,
        weight=lambda namespace: weight_of(config(), namespace),
    )
