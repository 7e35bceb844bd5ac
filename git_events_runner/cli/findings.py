"""Findings about a trigger: one fact each, with what to do about it, and its rank as a cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from .facts import Facts, ref_of

SHOWN = 5
_COMMIT_CHARS = 12


class Rank(IntEnum):
    """What a step has to do with the run that is missing: the lower, the earlier it prevents it."""

    DELETED = 0
    NO_CONTROLLER = 1
    INVALID = 2
    SECRET = 3
    SUSPENDED = 4
    REQUEST = 5
    GIT = 6
    REFUSED = 7
    NOT_SHOWN = 8
    WAITING = 9
    JOB = 10
    ENDED = 11
    NOT_SEEN = 12
    OTHER_REFERENCE = 13
    FILES = 14
    WARNING = 15
    NO_DELIVERY = 16
    UNCHANGED = 17
    RAN = 18
    CONTEXT = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fact: its topic, the fact in words, what to do about it, and its rank as a cause."""

    topic: str
    text: str
    remedy: str = ""
    rank: Rank = Rank.CONTEXT

    def __str__(self) -> str:
        """The fact and what to do, in one line."""
        return self.text + (f"; {self.remedy}" if self.remedy and self.remedy not in self.text else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The cause, and every step."""

    cause: Step
    steps: tuple[Step, ...]

    @property
    def wrong(self) -> bool:
        """Whether something has to be changed, or a run failed."""
        return self.cause.rank < Rank.SUSPENDED or self.cause.rank in {Rank.GIT, Rank.REFUSED, Rank.ENDED}


def names_of(facts: Facts) -> list[str]:
    """The sources of the trigger."""
    names = ((facts.trigger.get("spec") or {}).get("sources") or {}).get("names")
    return [str(name) for name in dict.fromkeys(names)] if isinstance(names, list) else []


def words_of(facts: Facts) -> str:
    """The trigger as the command line takes it."""
    ref = ref_of(facts.trigger)
    return f"{ref.kind.lower()}/{ref.name} -n {ref.namespace}"


def short(commit: str | None) -> str:
    """A commit in short."""
    return (commit or "none")[:_COMMIT_CHARS]


def listed(names: Iterable[object]) -> str:
    """The first names of many."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "source"), counted(0, "run"), counted(1200, "Job")
    ('1 source', '0 runs', '1200 Jobs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
