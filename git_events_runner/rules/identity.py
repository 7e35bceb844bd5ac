"""Whose run a Job is: the one module that maps a Job to a trigger. Every other Job is ignored.

Every user who may create Jobs in a namespace can write our labels and annotations on them. So no content of a Job is
trusted by itself. It is a run of a trigger only in the trigger's own namespace, under the name that follows from the
run, for a source that the trigger names (or whose runs its status still records), and with a number that the entry of
that source allows. A Job of v0.4 has no run; it is counted until it ends by its labels, if they name a trigger of its
namespace, a source of that trigger, and the Action that owns it. An ignored Job holds no slot, gets no copy of a
Secret, and has no text in conditions and Events and no series in the metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from git_events_runner.resources.job import JobView
from git_events_runner.resources.kinds import ACTIONS, GROUP, TRIGGERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.entry import Entry, entry_of, highest_number

from .references import Watched, full_name_of, is_pull, reference_of, source_of


class Found(Protocol):
    """An object of the store: a Job (its model is a JobView), a trigger or an action."""

    @property
    def ref(self) -> Ref:
        """Kind, namespace and name."""

    @property
    def uid(self) -> str:
        """Its uid."""

    @property
    def raw(self) -> Mapping[str, Any]:
        """The JSON, with its status."""

    @property
    def model(self) -> Any:
        """The parsed object; None when it is not valid."""


_T = TypeVar("_T", bound=Found)
_T_co = TypeVar("_T_co", bound=Found, covariant=True)


class Objects(Protocol[_T_co]):
    """The read side of the store."""

    def get(self, ref: Ref) -> _T_co | None:
        """The object, or None."""

    def trigger(self, uid: str) -> _T_co | None:
        """The trigger of that uid, or None."""

    def by_uid(self, kind: str, uid: str) -> _T_co | None:
        """The object of that kind and uid, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner(Generic[_T]):
    """The trigger and source that a Job is a run of; `number` is None for a Job of v0.4."""

    trigger: _T
    source: str
    number: int | None

    @property
    def named(self) -> bool:
        """Whether the trigger's spec names the source now: otherwise nothing new is done for it."""
        return is_watched(self.trigger, self.source)

    @property
    def settled(self) -> bool:
        """Whether the trigger's status records the run."""
        return self.number is not None and self.entry.runs >= self.number

    @property
    def entry(self) -> Entry:
        """The record of the source."""
        return entry_of(self.trigger.raw.get("status"), self.source)


def owner_of(job: Found, objects: Objects[_T]) -> Owner[_T] | None:
    """Whose run a Job is, by the current content of the store; None: it is ignored."""
    view: JobView = job.model
    if view.run is None:
        return _owner_of_legacy(job, objects) if view.legacy else None
    trigger = objects.trigger(view.run.trigger_uid)
    return run_of(job, trigger) if trigger is not None else None


def run_of(job: Found, trigger: _T) -> Owner[_T] | None:
    """The Job as a run of that very trigger, or None."""
    view: JobView = job.model
    run = view.run
    if run is None or run.trigger_uid != trigger.uid or job.ref.namespace != trigger.ref.namespace:
        return None
    if (view.trigger_kind, view.trigger_name) != (trigger.ref.kind, trigger.ref.name):
        return None  # the Job's name was derived from another trigger's name
    allowed = highest_number(trigger.raw.get("status"), run.source, named=lambda: is_watched(trigger, run.source))
    if allowed is not None and run.number > allowed:
        return None
    return Owner(trigger=trigger, source=run.source, number=run.number)


def runs_of(trigger: Found, jobs: Iterable[_T]) -> list[_T]:
    """Those of the Jobs that are runs of the trigger."""
    return [job for job in jobs if run_of(job, trigger) is not None]


def series_labels(job: Found, owner: Owner[Any], objects: Objects[Any]) -> dict[str, str]:
    """Labels of the Job's series, each the name of an object that exists; what is unknown is left out."""
    trigger = owner.trigger
    labels = {f"{GROUP}/trigger-kind": trigger.ref.kind, f"{GROUP}/trigger-name": trigger.ref.name}
    if owner.named:
        labels |= {
            f"{GROUP}/source-kind": trigger.model.spec.sources.kind,
            f"{GROUP}/source-name": source_of(owner.source),
        }
    action = _action_of(job, objects)
    if action is not None:
        labels |= {f"{GROUP}/action-kind": action.ref.kind, f"{GROUP}/action-name": action.ref.name}
    return labels


def _owner_of_legacy(job: Found, objects: Objects[_T]) -> Owner[_T] | None:
    view: JobView = job.model
    if view.trigger_kind not in TRIGGERS or not view.trigger_name:
        return None
    trigger = objects.get(Ref(view.trigger_kind, job.ref.namespace, view.trigger_name))
    source = view.labels.get(f"{GROUP}/source-name", "")
    if trigger is None or not (is_watched(trigger, source) or entry_of(trigger.raw.get("status"), source).exists):
        return None
    action = _action_of(job, objects)
    claimed = tuple(view.labels.get(f"{GROUP}/action-{part}") for part in ("kind", "name"))
    if action is None or claimed != (action.ref.kind, action.ref.name):
        return None
    return Owner(trigger=trigger, source=source, number=None)


def _action_of(job: Found, objects: Objects[_T]) -> _T | None:
    """The Action or ClusterAction that owns the Job."""
    uid = job.model.owner_uid
    found = (objects.by_uid(kind, uid) for kind in ACTIONS) if uid else ()
    return next((one for one in found if one is not None and one.ref.namespace in {None, job.ref.namespace}), None)


def is_watched(trigger: Found, source: str) -> bool:
    """Whether the spec watches it: `source` is the key of a source or of one of its references."""
    if trigger.model is None:
        return False
    sources, reference = trigger.model.spec.sources, reference_of(source)
    if reference is None or source_of(source) not in sources.names:
        return source in sources.names
    references = sources.watch_on.references
    if references is None or not (watched := Watched.of(references)).selects(full_name_of(source)):
        return False
    return not is_pull(source) or watched.accepts(entry_of(trigger.raw.get("status"), source).pull)
