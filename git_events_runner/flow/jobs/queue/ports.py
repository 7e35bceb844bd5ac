"""What the queue needs of other rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from git_events_runner.edges.kube.store import Snapshot
from git_events_runner.resources.kinds import Kind
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.ledger.mutations import Mutation, Outcome
from git_events_runner.rules.messages import Fence

Json = list[dict[str, Any]]


class Api(Protocol):
    """What the queue needs of the API server."""

    def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now."""

    async def patch(
        self,
        ref: Ref,
        body: Json,
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Apply a JSON Patch."""


class Deletions(Protocol):
    """Deletes Jobs, each after its reason is recorded."""

    def phase_of(self, uid: str) -> str | None:
        """The last phase of a Job that this process deleted, or is about to; None: it deletes no such Job."""

    async def expire(self, job: Snapshot, owner: Owner[Snapshot], message: str, fence: Fence) -> None:
        """Delete a run that waited too long."""

    async def end_overtaken(self, job: Snapshot, phase: str) -> None:
        """Delete a run that a newer one supersedes or replaces."""

    async def delete_orphan(self, job: Snapshot, fence: Fence) -> None:
        """Delete a waiting Job whose trigger does not exist any more."""


class SecretCopier(Protocol):
    """Makes the Secret that a Job's init container mounts when its source's credential lives elsewhere."""

    async def copy_for(self, job: Mapping[str, Any], trigger: Any, source: str) -> None:
        """Create it, owned by the Job; done already is fine."""


class Writer(Protocol):
    """Writes a trigger's status."""

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations; their outcomes."""


class EventRecorder(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one, some time."""
