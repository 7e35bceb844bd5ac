"""What following the Jobs needs of other rooms."""

from __future__ import annotations

from typing import Any, Protocol

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import Mutation, Outcome


class Api(Protocol):
    """What following Jobs needs of the API server."""

    async def patch(
        self,
        ref: Ref,
        body: list[dict[str, Any]],
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Apply a JSON Patch."""


class Writer(Protocol):
    """Writes a trigger's status."""

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations; their outcomes."""


class EventRecorder(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one, some time."""
