"""The last states of Jobs that are deleted, for the statuses that still name them."""

from __future__ import annotations

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.rules.history import RunState

_KEPT = 1000


class LastPhases:
    """By the name of the Job, which follows from its run."""

    def __init__(self) -> None:
        self._phases: BoundedDict[str, RunState] = BoundedDict(_KEPT)

    def __contains__(self, name: object) -> bool:
        """Whether that Job is known to be deleted."""
        return name in self._phases

    def get(self, name: str) -> RunState | None:
        """Its last state, or None."""
        return self._phases.get(name)

    def put(self, name: str, state: RunState) -> None:
        """It is deleted."""
        self._phases[name] = state

    def forget(self, name: str) -> None:
        """It exists, or exists again."""
        self._phases.pop(name, None)

    def clear(self) -> None:
        """Forget all."""
        self._phases.clear()
