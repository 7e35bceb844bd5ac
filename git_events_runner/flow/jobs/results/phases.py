"""The last states of Jobs that are deleted, for the statuses that still name them."""

from __future__ import annotations

from collections import OrderedDict

from git_events_runner.rules.history import RunState

_KEPT = 1000


class LastPhases:
    """By the name of the Job, which follows from its run."""

    def __init__(self) -> None:
        self._phases: OrderedDict[str, RunState] = OrderedDict()

    def __contains__(self, name: object) -> bool:
        """Whether that Job is known to be deleted."""
        return name in self._phases

    def get(self, name: str) -> RunState | None:
        """Its last state, or None."""
        return self._phases.get(name)

    def put(self, name: str, state: RunState) -> None:
        """It is deleted."""
        self._phases[name] = state
        if len(self._phases) > _KEPT:
            self._phases.popitem(last=False)

    def forget(self, name: str) -> None:
        """It exists, or exists again."""
        self._phases.pop(name, None)

    def clear(self) -> None:
        """Forget all."""
        self._phases.clear()
