"""Whether a run that succeeded is the first one after a failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from git_events_runner.resources.job import JobView
from git_events_runner.rules.history import records_of

_ENDS = frozenset(("Succeeded", "Failed"))


def follows_failure(number: int, source: str, jobs: Iterable[JobView], status: Mapping[str, Any] | None) -> bool:
    """Whether the run before this one, of those that ran to their end, failed.

    Args:
        number: The number of the run.
        source: Its source, with the reference where there are several.
        jobs: The Jobs of the source that exist.
        status: The trigger's status, whose history has runs whose Jobs are deleted.

    >>> history = {"history": [{"number": 3, "source": "app", "phase": "Failed"}]}
    >>> follows_failure(5, "app", [], history), follows_failure(3, "app", [], history)
    (True, False)
    """
    ends = {
        one["number"]: one["phase"]
        for one in records_of(status)
        if one.get("source") == source and isinstance(one.get("number"), int) and one.get("phase") in _ENDS
    }
    ends |= {view.run.number: view.phase for view in jobs if view.run is not None and view.phase in _ENDS}
    before = [earlier for earlier in ends if earlier < number]
    return bool(before) and ends[max(before)] == "Failed"
