"""Git servers: protocol, transports, questions, trees."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from .addresses import Addresses
from .hosts import Hosts, Observer, Unobserved
from .http import HttpTransport
from .limits import Limits
from .proxies import Proxies
from .remote import Remote


def http_remote(
    limits: Limits,
    *,
    observer: Observer | None = None,
    schemes: Collection[str] = ("http", "https"),
    refused_networks: Iterable[str] = (),
) -> Remote:
    """A Remote that speaks those of http and https that are allowed, through the proxies of the environment."""
    watcher = observer or Unobserved()
    hosts = Hosts(limits=limits, observer=watcher)
    transport = HttpTransport(
        limits=limits,
        hosts=hosts,
        observer=watcher,
        addresses=Addresses(refused_networks),
        proxies=Proxies.of(os.environ),
    )
    transports = {scheme: transport for scheme in ("http", "https") if scheme in schemes}
    return Remote(limits=limits, transports=transports, hosts=hosts, observer=watcher)


__all__ = ["HttpTransport", "Limits", "Observer", "Remote", "http_remote"]
