"""A complete controller on the cluster of these tests, in this process."""

import contextlib
from dataclasses import replace

import structlog

from git_events_runner.app import controller
from git_events_runner.edges.kube.client import Client
from git_events_runner.settings import Settings


def drop(*_):
    raise structlog.DropEvent


@contextlib.asynccontextmanager
async def working(cluster, **options):
    """It works while entered; its addresses."""
    settings = replace(
        Settings.of({}, {}),
        webhooks_port=0,
        utility_port=0,
        namespace="default",
        host="127.0.0.1",
        allow_loopback=True,
        **options,
    )
    structlog.configure(processors=[drop], cache_logger_on_first_use=False)
    try:
        async with (
            Client.connect_to(cluster.server.url, cluster.server.token) as client,
            controller(settings, client) as addresses,
        ):
            yield addresses
    finally:
        structlog.reset_defaults()
