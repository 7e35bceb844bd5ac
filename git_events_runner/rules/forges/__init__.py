"""What a forge's delivery contains: which repository, which references, which commits. Hints, never orders.

`read` turns a verified body into a `Push`, a `PullRequest` or an `IgnoredEvent` with its reason; the commit that runs
is read from git.
"""

from .payload import delivery_of, forge_of, read, unsigned_ping
from .pull import PullRequest
from .push import PING, Change, IgnoredEvent, MalformedPayload, Push, selected, watched
from .registry import BY_NAME, FORGES
from .repository_urls import same_repository

__all__ = [
    "BY_NAME",
    "FORGES",
    "PING",
    "Change",
    "IgnoredEvent",
    "MalformedPayload",
    "PullRequest",
    "Push",
    "delivery_of",
    "forge_of",
    "read",
    "same_repository",
    "selected",
    "unsigned_ping",
    "watched",
]
