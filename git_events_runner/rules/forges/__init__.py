"""What a forge's delivery says: which repository, which references, which commits. Hints, never orders.

`read` turns a verified body into a `Push` or an `Ignored` with its reason; the commit that runs is read from git.
"""

from .addresses import same_repository
from .payload import FORGES, delivery_of, forge_of, read, unsigned_ping
from .push import Change, Ignored, Push, Unreadable, watched

__all__ = [
    "FORGES",
    "Change",
    "Ignored",
    "Push",
    "Unreadable",
    "delivery_of",
    "forge_of",
    "read",
    "same_repository",
    "unsigned_ping",
    "watched",
]
