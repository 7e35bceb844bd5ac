"""Task ids: the content of a 202 response, and the status of each, from the trigger's status and its Jobs alone.

A delivery with an id of its own always gets the same task id, so one hash in `status.deliveries` has two uses: it
identifies a repeated delivery, and a task that is known although it ran nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.job import DELIVERIES_ANNOTATION, TASK_IDS_ANNOTATION, TASKS_KEPT
from git_events_runner.resources.queuemarks import SUPERSEDES_ANNOTATION

from .deliveries import delivery_hash, delivery_known, hashes_of, last_deliveries
from .entry import entry_of

_STATES = {
    "Succeeded": "succeeded",
    "Failed": "failed",
    "Running": "running",
    "Queued": "waiting",
    "Suspended": "waiting",
}
_WORST = ("failed", "running", "waiting", "succeeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """The status of a task: waiting, running, succeeded, failed or no change; `jobs` are (name, state)."""

    state: str
    jobs: tuple[tuple[str, str], ...] = ()
    superseded: bool = False

    @property
    def text(self) -> str:
        """One line for a person."""
        named = ", ".join(f"job {name} {state}" for name, state in self.jobs)
        return f"superseded by {named}" if self.superseded and named else named or self.state


def task_id(path: tuple[str, ...], delivery: str) -> str:
    """The task id of a forge's delivery to a path: the same at any time and on any replica.

    >>> task_id(("ns", "hook"), "d1") == task_id(("ns", "hook"), "d1") != task_id(("ns", "other"), "d1")
    True
    """
    digest = hashlib.sha256("\0".join((*path, delivery)).encode("utf-8", "replace")).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def task_status_of(
    task: str, status: Mapping[str, Any] | None, jobs: Iterable[tuple[str, str, Mapping[str, Any]]]
) -> TaskStatus | None:
    """The status of a task; None if it is not known (any more). `jobs`: name, phase and annotations of each.

    A Job that a newer run superseded has passed its requests to the newer one's Job.

    A Job that was removed after its TTL is not known any more: its task reads as no change while its hash is kept.
    """
    listed = [(name, _STATES.get(phase, "waiting"), annotations) for name, phase, annotations in jobs]
    own = tuple((name, state) for name, state, annotations in listed if _names(annotations, task))
    handed = tuple((name, state) for name, state, annotations in listed if _supersedes(annotations, task))
    if mine := own or handed:
        states = {state for _, state in mine}
        worst = next(state for state in _WORST if state in states)
        return TaskStatus(state=worst, jobs=mine, superseded=not own)
    if not delivery_known(status, delivery_hash(task)):
        return None
    sources = (status or {}).get("checkedSources") or {}
    unanswered = sum(max(e.requested - e.handled, 0) for e in (entry_of(status, source) for source in sources))
    waits = delivery_known({"deliveries": last_deliveries(status, unanswered)}, delivery_hash(task))
    return TaskStatus(state="waiting" if waits else "no change")


def requests_of(annotations: Mapping[str, Any], *, known: str = "") -> str:
    """The hashes of all requests that a Job answers, after those that are `known`; the last ones, if they are many.

    >>> handed = requests_of({TASK_IDS_ANNOTATION: "t1,t2"})
    >>> handed == delivery_hash("t1") + delivery_hash("t2") == requests_of({TASK_IDS_ANNOTATION: "t2"}, known=handed)
    True
    """
    tasks = [delivery_hash(task) for task in str(annotations.get(TASK_IDS_ANNOTATION) or "").split(",") if task]
    texts = (str(annotations.get(name) or "") for name in (DELIVERIES_ANNOTATION, SUPERSEDES_ANNOTATION))
    found = [*hashes_of(known), *tasks, *(one for text in texts for one in hashes_of(text))]
    return "".join(list(dict.fromkeys(found))[-TASKS_KEPT:])


def _supersedes(annotations: Mapping[str, Any], task: str) -> bool:
    return delivery_known({"deliveries": annotations.get(SUPERSEDES_ANNOTATION)}, delivery_hash(task))


def _names(annotations: Mapping[str, Any], task: str) -> bool:
    if task in str(annotations.get(TASK_IDS_ANNOTATION) or "").split(","):
        return True
    return delivery_known({"deliveries": annotations.get(DELIVERIES_ANNOTATION)}, delivery_hash(task))
