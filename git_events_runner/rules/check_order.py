"""Which of a trigger's sources is checked next: requests first, then scheduled times, sources that fail last.

No rank starves: after a few checks of better ranks in a row it is the turn of a worse rank's oldest source, but not
before every waiting source of a better rank was checked once. So sources whose server does not answer delay another one
by no more than the current check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

PASSED_MOST = 4


class Rank(IntEnum):
    """What a source waits for, the most urgent first."""

    REQUEST = 0
    SCHEDULED = 1
    FAILING = 2


class CheckOrder:
    """The order of one trigger's checks.

    >>> order = CheckOrder()
    >>> waiting = {"dead": Rank.FAILING, "app": Rank.SCHEDULED, "hook": Rank.REQUEST}
    >>> order.next_of(waiting)
    'hook'
    """

    def __init__(self) -> None:
        self._checks = dict.fromkeys(Rank, 0)  # of better ranks, while that rank waited
        self._checked: dict[Rank, dict[str, Rank]] = {rank: {} for rank in Rank}  # their sources

    def next_of(self, waiting: Mapping[str, Rank]) -> str | None:
        """The source to check next of those that wait, the oldest first."""
        rank = next(filter(lambda rank: self._is_due(rank, waiting), sorted(set(waiting.values()), reverse=True)), None)
        wanted = min(waiting.values(), default=None) if rank is None else rank
        return next((name for name, rank in waiting.items() if rank is wanted), None)

    def _is_due(self, rank: Rank, waiting: Mapping[str, Rank]) -> bool:
        """Whether it is the turn of a rank while better ones wait."""
        if self._checks[rank] < PASSED_MOST:
            return False
        checked = self._checked[rank]
        return all(name in checked for name, better in waiting.items() if better < rank)

    def started(self, source: str, rank: Rank, left: Iterable[Rank]) -> None:
        """A check of a source of that rank begins, while checks of the ranks `left` wait."""
        waiting = set(left)
        for other in Rank:
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
