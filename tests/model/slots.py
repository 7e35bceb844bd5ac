"""Exhaustive model of `maxRunningJobs`: two leaders in turn, caches that are behind, late requests side by side.

Each transition has the name of the step in `flow/jobs/queue` and `flow/checks/runs`. A request is a POST of an
unsuspended Job or the PATCH that admits a waiting one. One sent while its sender held the lease arrives before the next
leader lists, or never (the writes have time-outs, and the lease outlives the fence by them); the same leader may wait
for it in vain for any time. `explore` walks every interleaving and returns the first violation, or None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

RULES = frozenset(
    {
        "taken_first",  # a slot is taken before the request that fills it
        "fenced",  # taking a slot checks the fence: leading, as far as this replica knows, is not enough
        "lists_live",  # a new leader lists the Jobs before it gives a slot
        "outlives_request",  # a slot is not free because its Job is not there yet: the request may still arrive
        "own_lease_waits",  # a replica with the lease of a former life waits until that life's requests landed
    }
)


class Leader(NamedTuple):
    """One replica: whether it takes itself for the leader, the running Jobs that it sees, slots it has taken."""

    leading: bool
    seen: frozenset[str]
    taken: frozenset[str]


class State(NamedTuple):
    """Who holds the lease, both replicas, requests under way (sender, run, sent with the lease), the running Jobs."""

    holder: int
    leaders: tuple[Leader, Leader]
    sent: frozenset[tuple[int, str, bool]]
    running: frozenset[str]
    lives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The first violation's trace, or None; how many states were walked."""

    trace: tuple[str, ...] | None
    states: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The world without one rule, with `slots` and one run more than that.

    `restarts`: the first leader may be killed and start again under its name.
    """

    without: str = ""
    restarts: int = 1
    slots: int = 1

    def explore(self) -> Result:
        """Walk every interleaving, breadth first."""
        nothing: frozenset[str] = frozenset()
        first = Leader(leading=True, seen=nothing, taken=nothing)
        start = State(0, (first, first._replace(leading=False)), frozenset(), nothing, self.restarts)
        before: dict[State, tuple[State, str] | None] = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            for name, after in self._next(state):
                if after in before:
                    continue
                before[after] = (state, name)
                if len(after.running) > self.slots:
                    return Result(trace=_trace(before, after), states=len(before))
                queue.append(after)
        return Result(trace=None, states=len(before))

    def _has(self, rule: str) -> bool:
        return self.without != rule

    def _next(self, state: State) -> Iterator[tuple[str, State]]:
        for number, leader in enumerate(state.leaders):
            if leader.seen != state.running:
                yield f"{number} watches", _with(state, number, leader._replace(seen=state.running))
            holds = state.holder == number
            if leader.leading and (holds or not self._has("fenced")):
                yield from self._takes(state, number, leader, holds=holds)
            for run in leader.taken:
                waits = any(sender == number and sent == run for sender, sent, _ in state.sent)
                if run in state.running or not waits or not self._has("outlives_request"):
                    freed = leader._replace(taken=leader.taken - {run}, seen=leader.seen | ({run} & state.running))
                    yield f"{number} reads {run} live", _with(state, number, freed)
            if leader.leading and not holds:
                yield f"{number} notices", _with(state, number, leader._replace(leading=False))
        for request in state.sent:
            left = state._replace(sent=state.sent - {request})
            yield f"{request[1]} of {request[0]} is lost", left
            yield f"{request[1]} of {request[0]} arrives", left._replace(running=left.running | {request[1]})
        landed = not any(fenced for _, _, fenced in state.sent)
        if state.holder == 0 and landed:
            yield "1 takes the lease", self._leads(state._replace(holder=1), 1)
        if state.holder == 0 and state.lives and (landed or not self._has("own_lease_waits")):
            born = state._replace(lives=state.lives - 1)
            yield "0 is killed and starts again", self._leads(born, 0)

    def _takes(self, state: State, number: int, leader: Leader, *, holds: bool) -> Iterator[tuple[str, State]]:
        for run in "abc"[: self.slots + 1]:
            if run in state.running or len((leader.seen | leader.taken) - {run}) >= self.slots:
                continue
            taken = leader.taken | {run} if self._has("taken_first") else leader.taken
            after = _with(state, number, leader._replace(taken=taken))
            yield f"{number} sends {run}", after._replace(sent=state.sent | {(number, run, holds)})

    def _leads(self, state: State, number: int) -> State:
        seen = state.running if self._has("lists_live") else frozenset()
        return _with(state, number, Leader(leading=True, seen=seen, taken=frozenset()))


def _with(state: State, number: int, leader: Leader) -> State:
    leaders = (leader, state.leaders[1]) if number == 0 else (state.leaders[0], leader)
    return state._replace(leaders=leaders)


def _trace(before: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (came := before[state]) is not None:
        state, name = came
        steps.append(name)
    return tuple(reversed(steps))
