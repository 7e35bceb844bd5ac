"""What the model of the run ledger walks through: entry, Jobs, replicas, and the world that has them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """`status.checkedSources[source]` as far as the protocol needs it."""

    runs: int
    commit: str | None
    requested: int
    handled: int
    announced: int = -1  # index of the head that the last counted delivery announced
    numbered: bool = True  # whether its number of runs can be right
    runs_requested: int = 0  # by annotation
    runs_handled: int = 0  # up to which of them have their run
    missing: bool = False  # a complete answer lacked the reference
    absent: bool = False  # there is none: its runs are the trigger's `lastRunNumber`, which other keys raise
    reserved: bool = False  # it was written so short a time ago that it is not pruned


class Job(NamedTuple):
    """A Job: the run's number, commit and request; alive until deleted. `run_request`: which requested run it is.

    `attempt` is 0 for a run, and k for its k-th retry.
    """

    number: int
    commit: str
    request: int
    alive: bool
    run_request: int = 0
    attempt: int = 0
    failed: bool = False


class Replica(NamedTuple):
    """Where a replica's lane stands, the entry version it has seen, its data, and whether a check waits.

    `polls`: scheduled times alone made it wait; `poll`: they alone caused the one under way. `kept` is the head in the
    last answer that its process has from git, if that was sent after the last scheduled time.
    """

    at: str
    seen: int
    data: tuple[object, ...] | None
    wake: bool
    polls: bool = False
    poll: bool = False
    kept: int = -1


class State(NamedTuple):
    """The world: head index, deliveries made, entry versions (oldest first), Jobs, replicas, crashes, wipes.

    `shown` is the head that git shows, `expired` the newest announcement that is 30 s old. `due` is the head at
    the last scheduled time, `recorded` the commit that a first check took as known.
    """

    head: int
    delivered: int
    entries: tuple[Entry, ...]
    jobs: tuple[Job, ...]
    replicas: tuple[Replica, ...]
    crashes: int
    wiped: int
    shown: int = 0
    expired: int = -1
    due: int = -1
    recorded: str | None = None
    hidden: int = 0  # 1: git leaves the reference out of its answers, 2: it did so once
    pruned: int = 0
    raised: int = 0  # another key's entry, with a higher number, was pruned
    opened: bool = True  # whether the window is open
