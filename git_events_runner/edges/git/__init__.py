"""Git servers: protocol, transports, questions, trees."""

from __future__ import annotations

from .limits import Limits
from .remote import Remote
from .ssh import SshTransport


def http_remote(limits: Limits) -> Remote:
    """A Remote that speaks http and https, and ssh."""
    from .http import HttpTransport  # with aiohttp: a clone over SSH does without

    transport = HttpTransport(limits=limits)
    return Remote(limits=limits, transports={"http": transport, "https": transport, "ssh": SshTransport(limits=limits)})


def ssh_remote(limits: Limits) -> Remote:
    """A Remote that speaks ssh only."""
    return Remote(limits=limits, transports={"ssh": SshTransport(limits=limits)})


__all__ = ["Limits", "Remote", "SshTransport", "http_remote", "ssh_remote"]
