"""From a trigger and one of its sources to everything that a check needs, or to the problem that stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.jobs.run import Pointer
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.report import Problem

from .references import is_pull, reference_of, source_of

PULL_TYPE = "pull"


class Found(Protocol):
    """An object of the store: its model, or why it has none."""

    @property
    def uid(self) -> str:
        """Its uid."""

    @property
    def generation(self) -> int:
        """Its generation."""

    @property
    def model(self) -> Any:
        """The parsed object, or None."""

    @property
    def invalid(self) -> InvalidObject | None:
        """What is wrong with it, or None."""


Find = Callable[[Ref], Found | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A trigger's source and action, found and valid. Models are the pydantic models of `resources`."""

    watched: Pointer
    watched_model: Any
    action: Ref
    action_uid: str
    action_generation: int
    action_model: Any
    cloned: Pointer
    cloned_model: Any

    @property
    def override(self) -> bool:
        """Whether the action clones another source than the one that changed."""
        return self.action_model.spec.source_override is not None


def resolve(trigger: Any, source: str, find: Find, *, deleted: bool = False) -> Resolved | Problem:
    """Find what the trigger names. Cluster kinds have no namespace; the others are in the trigger's namespace.

    `source` is the key of an entry: a source, or one of its references. `deleted`: `onDelete` runs, if given.
    """
    namespace = trigger.ref.namespace
    watch = trigger.spec.sources
    watched_ref = named(watch.kind, namespace, source_of(source))
    watched = _valid(watched_ref, find, "Source")
    if isinstance(watched, Problem):
        return watched
    runs = watch.watch_on.on_delete if deleted and watch.watch_on.on_delete is not None else trigger.spec.action
    action_ref = named(runs.kind, namespace, runs.name)
    action = _valid(action_ref, find, "Action")
    if isinstance(action, Problem):
        return action
    ref_type, ref_name = _reference(trigger, source)
    pointer = Pointer(source=watched_ref, ref_type=ref_type, ref_name=ref_name)
    override = action.model.spec.source_override
    cloned, cloned_pointer = watched, pointer
    if override is not None:
        cloned_ref = named(override.kind, namespace, override.name)
        found = _valid(cloned_ref, find, "Source")
        if isinstance(found, Problem):
            return Problem(reason=found.reason, message=f"{action_ref}: sourceOverride: {found.message}", stalled=True)
        cloned = found
        cloned_pointer = Pointer(source=cloned_ref, ref_type=override.reference.type, ref_name=override.reference.name)
    return Resolved(
        watched=pointer,
        watched_model=watched.model,
        action=action_ref,
        action_uid=action.uid,
        action_generation=action.generation,
        action_model=action.model,
        cloned=cloned_pointer,
        cloned_model=cloned.model,
    )


def _reference(trigger: Any, source: str) -> tuple[str, str]:
    """Type and name of the watched reference; of a pull request the full name that its delivery reported."""
    watch = trigger.spec.sources.watch_on
    if not is_pull(source):
        return reference_of(source) or (watch.reference.type, watch.reference.name)
    pull, wanted = entry_of(trigger.raw_status, source).pull, watch.references and watch.references.pull_requests
    merged = wanted is not None and wanted.checkout == "Merge"
    return PULL_TYPE, pull.reference(merged=merged) if pull is not None else ""


def _valid(ref: Ref, find: Find, role: str) -> Found | Problem:
    found = find(ref)
    if found is None:
        message = f"{ref} does not exist; create it, or name another one in the trigger"
        return Problem(reason=f"{role}NotFound", message=message, stalled=True)
    if found.invalid is not None or found.model is None:
        return Problem(reason="InvalidSpec", message=f"{ref} is not valid: {found.invalid}", stalled=True)
    return found
