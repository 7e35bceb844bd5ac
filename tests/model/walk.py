"""The trace of a walk over a model's states, and the versions of the entry that it needs no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def trace(came: Mapping[Any, tuple[Any, str] | None], state: Any) -> str:
    """The transitions that lead to a state."""
    names: list[str] = []
    while (step := came[state]) is not None:
        state, name = step
        names.append(name)
    return "; ".join(reversed(names))


def forget_unseen(state: Any) -> Any:
    """The state without the versions of the entry that no replica can read any more."""
    oldest = min(replica.seen for replica in state.replicas)
    if not oldest:
        return state
    replicas = tuple(replica._replace(seen=replica.seen - oldest) for replica in state.replicas)
    return state._replace(entries=state.entries[oldest:], replicas=replicas)
