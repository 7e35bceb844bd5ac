"""The hashes of the last deliveries, as the status keeps them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

DELIVERIES_KEPT = 64
HASH_CHARS = 11


def delivery_hash(delivery: str) -> str:
    """Eight bytes that identify a delivery (its task id) in `status.deliveries` (11 characters)."""
    return base64.urlsafe_b64encode(hashlib.sha256(delivery.encode()).digest()[:8]).decode().rstrip("=")


def delivery_known(status: Mapping[str, Any] | None, digest: str) -> bool:
    """Whether the delivery is among the last 64 that were recorded."""
    text = (status or {}).get("deliveries")
    if not isinstance(text, str):
        return False
    return any(text[at : at + HASH_CHARS] == digest for at in range(0, len(text), HASH_CHARS))


def hashes_of(text: str) -> list[str]:
    """The hashes in a text of `status.deliveries`."""
    return [text[at : at + HASH_CHARS] for at in range(0, len(text) - HASH_CHARS + 1, HASH_CHARS)]


def deliveries_overtaken(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    """Whether so many deliveries were recorded between two readings that a hash between them may be missing.

    It is then unknown whether a delivery without a hash in `after` was recorded.

    >>> old, new = delivery_hash("old"), delivery_hash("new")
    >>> deliveries_overtaken({"deliveries": old}, {"deliveries": old + new})
    False
    >>> deliveries_overtaken({"deliveries": old}, {"deliveries": new * DELIVERIES_KEPT})
    True
    """
    known, found = (str((status or {}).get("deliveries") or "") for status in (before, after))
    full = len(found) >= DELIVERIES_KEPT * HASH_CHARS
    return full and not (known and delivery_known(after, known[-HASH_CHARS:]))


def last_deliveries(status: Mapping[str, Any] | None, count: int) -> str:
    """The hashes of the last `count` deliveries, as one string."""
    text = (status or {}).get("deliveries")
    return text[-count * HASH_CHARS :] if isinstance(text, str) and count > 0 else ""
