"""Repositories that failed back off for a growing time, for all callers and any number of calls."""

from __future__ import annotations

import random
from collections.abc import Collection
from copy import copy
from dataclasses import dataclass

from git_events_runner.concurrency.fairness import FairCache, Room, no_room
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.errors import GitError, GitRateLimited, GitReferenceNotFound

_FIRST_S = 1.0
_LONGEST_S = 300.0
_LIMIT = 16_384
_CLOSE_ENOUGH_S = 0.05  # a caller that waits as long as reported may be a timer's tick early
# A missing reference is an answer; `HostRateLimits` handles a limited rate.
_NO_FAILURE = (GitReferenceNotFound, GitRateLimited)


@dataclass(slots=True)
class _Failure:
    count: int
    until: float
    error: GitError


class Backoffs:
    """Failures in a row by `Repository.key` (so by credential, too), or by a part of its requests.

    The time doubles from 1 s up to 5 min, minus a random part of at most half.
    """

    def __init__(self, *, limit: int = _LIMIT, room: Room = no_room) -> None:
        """`limit` is how many failures are remembered, `room` is how many failures of one namespace are in any case."""
        self._failures: FairCache[str, _Failure] = FairCache(limit=limit, room=room)

    def check(self, key: str, now: float) -> None:
        """Return if requests to the repository are allowed.

        Raises:
            GitError: The last failure; `retry_after_s` is the time until the next request.
        """
        failure = self._failures.get(key)
        if failure is not None and failure.until > now + _CLOSE_ENOUGH_S:
            error = copy(failure.error)
            error.retry_after_s, error.repeated = failure.until - now, True
            raise error

    def failed(self, key: str, error: GitError, now: float, *, namespace: str = "") -> bool:
        """Record a failure of a namespace's request; True if it now backs off (the error then contains the time)."""
        if isinstance(error, _NO_FAILURE):
            return False
        known = self._failures.get(key)
        count = known.count + 1 if known else 1
        wait_s = delay_s(count, first_s=_FIRST_S, longest_s=_LONGEST_S) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
        error.retry_after_s = wait_s
        self._failures.put(namespace, key, _Failure(count, now + wait_s, error))
        return True

    def forget(self, key: str) -> None:
        """The repository answered, or an event reports a change: the next request is sent immediately."""
        self._failures.pop(key)

    def forget_all(self, keys: Collection[str]) -> None:
        """Drop keys that are not configured any more, with their parts."""
        for key in self._failures:
            if key.partition("/")[0] in keys:
                self._failures.pop(key)
