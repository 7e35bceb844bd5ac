"""Git servers: protocol, transports, questions, trees."""

from __future__ import annotations

from .http import HttpTransport
from .limits import Limits
from .remote import Remote


def http_remote(limits: Limits) -> Remote:
    """A Remote that speaks http and https."""
    transport = HttpTransport(limits=limits)
    return Remote(limits=limits, transports={"http": transport, "https": transport})


__all__ = ["HttpTransport", "Limits", "Remote", "http_remote"]
