"""Git servers: protocol, transports, questions, trees."""

from __future__ import annotations

from .http import HttpTransport
from .limits import Limits
from .remote import Remote
from .ssh import SshTransport


def http_remote(limits: Limits) -> Remote:
    """A Remote that speaks http and https, and ssh."""
    transport = HttpTransport(limits=limits)
    return Remote(limits=limits, transports={"http": transport, "https": transport, "ssh": SshTransport(limits=limits)})


__all__ = ["HttpTransport", "Limits", "Remote", "SshTransport", "http_remote"]
