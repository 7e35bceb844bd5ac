"""Interfaces between several modules of flow, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import Mutation, Outcome
from git_events_runner.rules.policy import Policy
from git_events_runner.rules.problems import Problem
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.schedule.schedule import Schedule
from git_events_runner.rules.waits import WaitPolicy


class StatusWriter(Protocol):
    """Writes triggers' statuses."""

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations to the status of the trigger with that uid; their outcomes.

        Raises:
            ApiNotFound: The trigger was deleted, or another one has its name.
            ApiError: The API server did not accept the write, or its outcome stayed unknown.
        """


class DeferringStatusWriter(StatusWriter, Protocol):
    """Writes triggers' statuses, some of them a little later."""

    def defer(self, ref: Ref, uid: str, mutation: Mutation, *, unwritten: Callable[[], None]) -> None:
        """Write a mutation with the next write of that trigger, within a second; else call `unwritten`."""


class PolicyGate(Protocol):
    """The installation's policy, and what it allows."""

    @property
    def policy(self) -> Policy:
        """The current policy."""

    def resolve(self, trigger: Any, source: str, *, deleted: bool = False) -> Resolved | Problem:
        """What a run of a trigger (its model) and one of its sources needs, or why there may be none."""

    def schedule_of(self, namespace: str, interval: str | None, cron: str | None) -> Schedule | Problem:
        """The schedule of a trigger's spec, or why it is invalid."""

    def waits_of(self, trigger: Any) -> WaitPolicy | Problem | None:
        """What makes changes of a trigger (its model) wait, or why its fields cannot be used."""

    def closed_until(self, trigger: Any) -> datetime | None:
        """Outside the windows: when runs may start."""

    def no_room(self, trigger: Ref, uid: str, making: int) -> Problem | None:
        """Why its namespace may have no further Job, with `making` that are being created."""


class RunMessages(Protocol):
    """What has to be sent about runs is recorded before their Jobs are deleted."""

    def keeps(self, job: Snapshot) -> bool:
        """Whether a Job may have no TTL yet, because a message about its end is still to be sent."""

    async def cancelling(self, job: Snapshot, result: str) -> None:
        """Record the message about a Job that is about to be deleted, with its last phase.

        Raises:
            ApiError: The API server gave no answer: nothing may be deleted yet, try again.
        """

    async def lost(self, trigger: Snapshot, source: str, name: str) -> None:
        """Record the message about a Job of a trigger's source, by name, that no leader saw deleted.

        Raises:
            ApiError: The API server gave no answer: try again.
        """


class SecretCopier(Protocol):
    """Creates the Secret that a Job's init container mounts if its source's credential is elsewhere."""

    async def copy_for(self, job: Mapping[str, Any], trigger: Any, source: str) -> None:
        """Create it, owned by the Job; nothing if none is needed.

        Raises:
            SecretUnusable: The credential cannot be used.
            ApiError: The copy does not exist, or its outcome is unknown.
        """
