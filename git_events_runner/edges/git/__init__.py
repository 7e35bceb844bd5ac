"""Git servers: protocol, transports, questions, trees."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from .hosts import Hosts, Observer, Unobserved
from .limits import Limits, Transport
from .remote import Remote
from .ssh import SshTransport


def http_remote(
    limits: Limits,
    *,
    observer: Observer | None = None,
    schemes: Collection[str] = ("http", "https", "ssh"),
    refused_networks: Iterable[str] = (),
) -> Remote:
    """A Remote that speaks those of http, https and ssh that are allowed; HTTP through the environment's proxies."""
    from .addresses import Addresses  # with aiohttp: a clone over SSH does without
    from .http import HttpTransport
    from .proxies import Proxies

    watcher = observer or Unobserved()
    hosts = Hosts(limits=limits, observer=watcher)
    http = HttpTransport(
        limits=limits,
        hosts=hosts,
        observer=watcher,
        addresses=Addresses(refused_networks),
        proxies=Proxies.of(os.environ),
    )
    transports: dict[str, Transport] = {"http": http, "https": http, "ssh": SshTransport(limits=limits)}
    allowed = {scheme: transport for scheme, transport in transports.items() if scheme in schemes}
    return Remote(limits=limits, transports=allowed, hosts=hosts, observer=watcher)


def ssh_remote(limits: Limits) -> Remote:
    """A Remote that speaks ssh only."""
    return Remote(limits=limits, transports={"ssh": SshTransport(limits=limits)})


__all__ = ["Limits", "Observer", "Remote", "SshTransport", "http_remote", "ssh_remote"]
