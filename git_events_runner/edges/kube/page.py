"""A page of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list: raw objects (with their kind set), the list's version, and where the next page begins."""

    items: list[dict[str, Any]]
    resource_version: str
    continue_token: str | None
