"""Which of a trigger's sources is checked next: requests first, then scheduled times, sources that fail last.

No rank starves: after a few checks of better ranks in a row it is the turn of a worse rank's oldest source, but not
before every waiting source of a better rank was checked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

PASSED_MOST = 4


class Rank(IntEnum):
    """What a source waits for, the most urgent first."""

    REQUEST = 0
    SCHEDULED = 1
    FAILING = 2


_RANKS = tuple(Rank)
Waiting = Mapping[Rank, Mapping[str, bool]]


class CheckOrder:
    """The order of one trigger's checks. What waits is given by rank, the oldest first, each source with its cause.

    >>> order = CheckOrder()
    >>> waiting = {Rank.FAILING: {"dead": True}, Rank.SCHEDULED: {"app": True}, Rank.REQUEST: {"hook": False}}
    >>> order.next_of(waiting)
    'hook'
    >>> order.next_of(waiting, lambda source, scheduled: scheduled)
    'app'
    """

    def __init__(self) -> None:
        self._checks = dict.fromkeys(Rank, 0)  # of better ranks, while that rank waited
        self._checked: dict[Rank, dict[str, Rank]] = {rank: {} for rank in Rank}  # their sources

    def next_of(self, waiting: Waiting, fits: Callable[[str, bool], bool] = lambda *_: True) -> str | None:
        """The source to check next of those that wait and fit, the oldest first."""
        ranks = [rank for rank in _RANKS if waiting.get(rank)]
        due = [rank for rank in reversed(ranks) if self._is_due(rank, waiting)] if len(ranks) > 1 else []
        for rank in (*due, *ranks):
            for source, cause in waiting[rank].items():
                if fits(source, cause):
                    return source
        return None

    def _is_due(self, rank: Rank, waiting: Waiting) -> bool:
        """Whether it is the turn of a rank while better ones wait."""
        if self._checks[rank] < PASSED_MOST:
            return False
        checked = self._checked[rank]
        return all(name in checked for better, sources in waiting.items() if better < rank for name in sources)

    def started(self, source: str, rank: Rank, left: Iterable[Rank]) -> None:
        """A check of a source of that rank begins, while checks of the ranks `left` wait."""
        waiting = set(left)
        if not waiting and not any(self._checks.values()):
            return
        for other in _RANKS:
            checked = self._checked[other]
            if other is rank or other not in waiting:
                checked.clear()
                self._checks[other] = 0
            if any(better < rank for better in waiting):  # after the turn of a worse rank each of them has its own
                for name in [name for name, better in checked.items() if better < rank]:
                    del checked[name]
            if other > rank and other in waiting:
                self._checks[other] += 1
                checked[source] = rank
