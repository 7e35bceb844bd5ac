"""Notifiers on the page: what was sent of a trigger's last run, and which receivers do not accept messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.job import NOTIFIED_ANNOTATION
from git_events_runner.resources.kinds import NOTIFIERS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.delivery import Outcome, delivery_of, not_ready
from git_events_runner.rules.notifications.marks import marks_of
from git_events_runner.rules.notifications.report import RECOVERED, state_of
from git_events_runner.rules.notifications.selection import concerned

from .rows import RunRow, Tone

_TONES = {Outcome.SENT: Tone.GOOD, Outcome.WAITS: Tone.WAIT, Outcome.REFUSED: Tone.BAD, Outcome.NONE: Tone.OFF}
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierView:
    """A Notifier, and what happened to its message about the last run."""

    name: str
    type: str
    tone: Tone
    words: str
    why: str


def notifiers_of(
    store: Store, trigger: Ref, runs: Sequence[RunRow], repositories: dict[str, str]
) -> list[NotifierView]:
    """The Notifiers that report a trigger; `runs` are its own, the latest first, `repositories` by source."""
    found = store.get(trigger)
    if found is None:
        return []
    namespace = store.get(Ref("Namespace", None, trigger.namespace or ""))
    chosen = concerned(_all(store), trigger, _labels(found), _labels(namespace))
    last = next((run for run in runs if store.get(Ref("Job", trigger.namespace, run.job)) is not None), None)
    return [_view(store, each, last, trigger, repositories) for each in chosen[:_SHOWN]]


def failing(store: Store) -> list[tuple[str, str]]:
    """Name of each Notifier whose last message was not accepted, and why."""
    views = ((each, *not_ready(each.raw.get("status"))) for each in _all(store))
    return [(_name(each), f"{reason}: {message}") for each, reason, message in views if reason][:_SHOWN]


def _view(
    store: Store, notifier: Snapshot, last: RunRow | None, trigger: Ref, repositories: dict[str, str]
) -> NotifierView:
    spec, status = notifier.model.spec, notifier.raw.get("status")
    job = store.get(Ref("Job", trigger.namespace, last.job)) if last is not None else None
    if last is None or job is None:
        reason, message = not_ready(status)
        tone, why = (Tone.BAD, f"{reason}: {message}") if reason else (Tone.OFF, "no Job of a run is there")
        return NotifierView(name=_name(notifier), type=spec.type, tone=tone, words="Nothing to send", why=why)
    annotations = job.raw["metadata"].get("annotations") or {}
    mark, state = marks_of(annotations.get(NOTIFIED_ANNOTATION)).get(notifier.uid), state_of(job.model)
    uri = repositories.get(last.source)
    found = delivery_of(spec, state, mark, generation=notifier.generation, uri=uri, status=status)
    words = f"{RECOVERED if mark == RECOVERED else state}: {found.outcome}"
    return NotifierView(name=_name(notifier), type=spec.type, tone=_TONES[found.outcome], words=words, why=found.why)


def _all(store: Store) -> list[Snapshot]:
    return [each for kind in NOTIFIERS for each in store.all(kind)]


def _name(notifier: Snapshot) -> str:
    ref = notifier.ref
    return f"{ref.kind} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind} {ref.name}"


def _labels(found: Snapshot | None) -> dict[str, str]:
    return dict(found.raw["metadata"].get("labels") or {}) if found is not None else {}
