"""Git servers: protocol, transports, requests, trees."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from git_events_runner.concurrency.fairness import Room, Weight, equal, no_room
from git_events_runner.edges.git.ssh.transport import SshTransport

from .allowed_addresses import LOOPBACK, Addresses
from .limits import Limits, Transport
from .rate_limits import HostRateLimits, Observer, Unobserved
from .remote import Remote

if TYPE_CHECKING:
    from git_events_runner.edges.git.http.lfs import LfsClient
    from git_events_runner.edges.git.http.messages import MessageClient


def http_remote(
    limits: Limits,
    *,
    observer: Observer | None = None,
    schemes: Collection[str] = ("http", "https", "ssh"),
    refused_networks: Iterable[str] = (),
    weight: Weight = equal,
    allowed_networks: Iterable[str] = (),
    room: Room = no_room,
) -> Remote:
    """A Remote for the allowed ones of http, https and ssh; HTTP uses the environment's proxies.

    `refused_networks` are refused in addition to the fixed ones, except those in `allowed_networks`.
    `room` is how many repositories of a namespace are remembered in any case.
    """
    from git_events_runner.edges.git.http.proxies import Proxies
    from git_events_runner.edges.git.http.transport import HttpTransport  # imports aiohttp: a clone over SSH needs none

    watcher = observer or Unobserved()
    hosts = HostRateLimits(limits=limits, observer=watcher, weight=weight, room=room)
    addresses = Addresses(refused_networks, allowed=allowed_networks)
    http = HttpTransport(
        limits=limits,
        hosts=hosts,
        observer=watcher,
        addresses=addresses,
        proxies=Proxies.of(os.environ),
        room=room,
    )
    ssh = SshTransport(limits=limits, addresses=addresses, observer=watcher, room=room)
    transports: dict[str, Transport] = {"http": http, "https": http, "ssh": ssh}
    allowed = {scheme: transport for scheme, transport in transports.items() if scheme in schemes}
    return Remote(limits=limits, transports=allowed, hosts=hosts, observer=watcher, room=room)


def lfs_client(limits: Limits) -> LfsClient:
    """A client for Git LFS, with the rules for addresses that a clone has."""
    from git_events_runner.edges.git.http.lfs import LfsClient
    from git_events_runner.edges.git.http.proxies import Proxies
    from git_events_runner.edges.git.http.transport import HttpTransport

    watcher = Unobserved()
    return LfsClient(
        HttpTransport(
            limits=limits,
            hosts=HostRateLimits(limits=limits, observer=watcher, weight=equal),
            observer=watcher,
            addresses=Addresses(),
            proxies=Proxies.of(os.environ),
        )
    )


def ssh_remote(limits: Limits) -> Remote:
    """A Remote that speaks ssh only."""
    ssh = SshTransport(limits=limits, addresses=Addresses(), observer=Unobserved())
    return Remote(limits=limits, transports={"ssh": ssh})


__all__ = [
    "LOOPBACK",
    "Limits",
    "Observer",
    "Remote",
    "SshTransport",
    "Unobserved",
    "http_remote",
    "lfs_client",
    "ssh_remote",
]


def message_client(
    limits: Limits, *, refused_networks: Iterable[str] = (), allowed_networks: Iterable[str] = ()
) -> MessageClient:
    """A client for messages to receivers, with the rules for addresses that git servers have."""
    from git_events_runner.edges.git.http.messages import MessageClient
    from git_events_runner.edges.git.http.proxies import Proxies
    from git_events_runner.edges.git.http.transport import HttpTransport

    watcher = Unobserved()
    hosts = HostRateLimits(limits=limits, observer=watcher, weight=equal)
    transport = HttpTransport(
        limits=limits,
        hosts=hosts,
        observer=watcher,
        addresses=Addresses(refused_networks, allowed=allowed_networks),
        proxies=Proxies.of(os.environ),
    )
    return MessageClient(transport, hosts=hosts, deadline_s=limits.deadline_s)
