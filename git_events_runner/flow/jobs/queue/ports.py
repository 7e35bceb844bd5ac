"""Interfaces that the queue needs of other packages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.ports import KubeClient
from git_events_runner.resources.kinds import Kind
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.messages import Fence


class Api(KubeClient, Protocol):
    """The part of the API client that the queue needs."""

    def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind."""


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
