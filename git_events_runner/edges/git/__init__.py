"""Git servers: protocol, transports, questions, trees."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from .addresses import Addresses
from .hosts import Hosts, Observer, Unobserved
from .http import HttpTransport
from .limits import Limits, Transport
from .proxies import Proxies
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


__all__ = ["HttpTransport", "Limits", "Observer", "Remote", "SshTransport", "http_remote"]
