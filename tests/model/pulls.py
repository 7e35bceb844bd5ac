"""Exhaustive model of one pull request: deliveries in any order, replicas with stale caches, a spec that gets stricter.

The ledger's own steps are in `ledger.py`; here a run is created and recorded in one step each, after the live read. Git
goes on showing the head of a pull request that was closed, so only deliveries report the closing. `history` is what
happened at the forge: letters are heads, `-` is the closing. With `late` the forge's deliveries arrive in any order.
With `strict` the trigger stops accepting forks at any time; the pull request is one. With `lost` the delivery of the
closing may be lost; the leader then closes the pull request for lack of deliveries: it reads, and writes later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from tests.model.ledger import GONE, Result
from tests.model.walk import trace

MOST_CLOSINGS = 2

RULES = frozenset(
    {
        "closing_recorded",  # the delivery that reports the closing records it, as git never shows it
        "late_ignored",  # a delivery of an older event than the recorded one changes nothing but the count
        "reopening_recorded",  # one that reports a reopening ends the closing
        "record_needed",  # a check finds nothing to do where no delivery is recorded: the entry was pruned
        "fork_in_record",  # a check knows by the record that it is a fork's, not only the delivery
        "idle_closes",  # the leader closes a pull request of which nothing was delivered for long
        "idle_counts",  # that is a request: a check handles it
        "idle_tests",  # its write tests that no delivery was recorded since it read
        "generation_read",  # the live read tests the generation of the spec that the decision used
    }
)


class Entry(NamedTuple):
    """What the status records of it: `event` is the newest event that was delivered, -1 without any."""

    runs: int = 0
    commit: str | None = None
    requested: int = 0
    handled: int = 0
    event: int = -1
    closed: bool = False
    idle: bool = False


class Check(NamedTuple):
    """A check under way: the entry and the spec that it has read, then what it decided to run."""

    entry: int
    strict: bool
    commit: str | None = None
    post: bool = False


class State(NamedTuple):
    """The world: events so far, those delivered, entry versions, Jobs, checks, and whether forks are refused."""

    at: int
    delivered: frozenset[int]
    entries: tuple[Entry, ...]
    jobs: tuple[str, ...]
    checks: tuple[Check | None, ...]
    strict: bool = False
    stranger: bool = False
    pruned: bool = False
    lost: bool = False
    idle: int | None = None
    closings: int = 0


class Pulls:
    """The protocol with replicas that deliver and check."""

    def __init__(self, history: str, *, without: str = "", events: str = "", replicas: int = 2) -> None:
        self.history = history
        self.rules = RULES - set(without.split())
        self.events = set(events.split())
        self.replicas = replicas

    def shown(self, at: int) -> str:
        """What git shows: the last head, also of a closed pull request."""
        return next(head for head in reversed(self.history[: at + 1]) if head != GONE)

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Every transition from a state."""
        live = state.entries[-1]
        if state.at + 1 < len(self.history):
            yield f"event {self.history[state.at + 1]}", state._replace(at=state.at + 1)
        waiting = [one for one in range(state.at + 1) if one not in state.delivered]
        for one in waiting if "late" in self.events else waiting[:1]:
            entries = (*state.entries, self.counted(live, one))
            yield f"delivery {one}", state._replace(entries=entries, delivered=state.delivered | {one})
        if "strict" in self.events and not state.strict:
            yield "forks refused", state._replace(strict=True)
        over = live.commit is None and live.runs and live.requested == live.handled and not waiting
        if over and state.at + 1 == len(self.history) and not state.pruned and not any(state.checks):
            yield "prune", state._replace(entries=(*state.entries, Entry(runs=live.runs)), pruned=True)
        if "lost" in self.events:
            yield from self.losses(state, waiting)
        for lane, check in enumerate(state.checks):
            yield from self.lane(state, lane, check)

    def losses(self, state: State, waiting: list[int]) -> Iterator[tuple[str, State]]:
        """A closing that is never delivered, and the leader's two steps: read, and close what it has read."""
        live = state.entries[-1]
        for one in waiting[:1]:
            if self.history[one] == GONE:
                yield f"lost {one}", state._replace(delivered=state.delivered | {one}, lost=True)
        if "idle_closes" not in self.rules:
            return
        if state.idle is None and live.event >= 0 and not live.closed and state.closings < MOST_CLOSINGS:
            yield "idle read", state._replace(idle=len(state.entries) - 1, closings=state.closings + 1)
        elif state.idle is not None:
            tested = "idle_tests" in self.rules and live.requested != state.entries[state.idle].requested
            counted = live.requested + ("idle_counts" in self.rules)
            closed = live._replace(closed=True, idle=True, requested=counted)
            entries = state.entries if tested or live.event < 0 else (*state.entries, closed)
            yield "idle closes", state._replace(idle=None, entries=entries)

    def counted(self, live: Entry, event: int) -> Entry:
        """The entry after a delivery."""
        found = live._replace(requested=live.requested + 1)
        if event < live.event and "late_ignored" in self.rules:
            return found
        closed = self.history[event] == GONE and "closing_recorded" in self.rules
        if live.closed and not closed and "reopening_recorded" not in self.rules:
            closed = True
        return found._replace(event=event, closed=closed, idle=False)

    def lane(self, state: State, lane: int, check: Check | None) -> Iterator[tuple[str, State]]:
        """The next step of a replica's check; one starts from any state of the entry that is still in a cache."""
        live, latest = state.entries[-1], len(state.entries) - 1

        def with_check(now: Check | None, **world: object) -> State:
            checks = (*state.checks[:lane], now, *state.checks[lane + 1 :])
            return state._replace(checks=checks, **world)  # type: ignore[arg-type]

        if check is None:
            cached = range(max(0, latest - 2), latest + 1)
            for version in cached if live.requested > live.handled or state.pruned else ():
                for strict in {state.strict, False}:
                    yield f"{lane} read {version - latest}", with_check(Check(version, strict))
            return
        entry = state.entries[check.entry]
        if check.post:
            number = entry.runs + 1
            if len(state.jobs) >= number:  # the run's name is derived: there is one Job of a number
                yield f"{lane} exists {number}", with_check(None, entries=self.settled(state, state.jobs, entry))
                return
            jobs = (*state.jobs, str(check.commit))
            settled = self.settled(state, jobs, entry)
            yield f"{lane} runs {number}={check.commit}", with_check(None, jobs=jobs, entries=settled)
            return
        refused = check.strict and "fork_in_record" in self.rules
        if refused or (entry.event < 0 and "record_needed" in self.rules):
            yield f"{lane} nothing", with_check(None, **self.skipped(state, entry, entry.commit))
            return
        commit = GONE if entry.closed else self.shown(state.at)
        same = entry.commit is None if entry.closed else commit == entry.commit
        if same:
            recorded = None if entry.closed else commit
            yield f"{lane} same", with_check(None, **self.skipped(state, entry, recorded))
            return
        moved = live[:2] != entry[:2] or ("generation_read" in self.rules and check.strict != state.strict)
        if moved:
            yield f"{lane} restart", with_check(None)
        else:
            decided = Check(check.entry, check.strict, commit, post=True)
            yield f"{lane} decides {commit}", with_check(decided, stranger=state.stranger or state.strict)

    @staticmethod
    def settled(state: State, jobs: tuple[str, ...], entry: Entry) -> tuple[Entry, ...]:
        """Record the newest Job."""
        live = state.entries[-1]
        if live.runs >= len(jobs):
            return state.entries
        commit = None if jobs[-1] == GONE else jobs[-1]
        handled = min(entry.requested, live.requested)
        return (*state.entries, live._replace(runs=len(jobs), commit=commit, handled=handled))

    @staticmethod
    def skipped(state: State, entry: Entry, commit: str | None) -> dict[str, object]:
        """Handle the requests that the check has seen, if no run was recorded meanwhile."""
        live = state.entries[-1]
        handled = max(live.handled, min(entry.requested, live.requested))
        written = live._replace(commit=commit, handled=handled)
        return {} if live[:2] != entry[:2] or written == live else {"entries": (*state.entries, written)}

    def violation(self, state: State) -> str | None:
        """What is wrong with a state, if anything."""
        if state.stranger:
            return "a fork ran although the trigger refuses forks"
        for before, job in zip((None, *state.jobs), state.jobs, strict=False):
            if before == job or (job == GONE and before is None):
                return f"{job} ran twice, or for nothing"
        live = state.entries[-1]
        quiet = not any(state.checks) and len(state.delivered) == len(self.history) and state.idle is None
        if not quiet or live.requested > live.handled or state.strict:
            return None
        ran, head = state.jobs[-1] if state.jobs else None, self.history[-1]
        if state.lost and not live.closed and "idle_closes" in self.rules:
            return None  # the leader closes it later
        if head == GONE or (live.idle and "idle_tests" in self.rules):
            return None if ran in {None, GONE} and live.commit is None else f"lost: the closing, after {ran}"
        return None if ran == live.commit == head else f"lost: head {head}, ran {ran}, recorded {live.commit}"

    def explore(self) -> Result:
        """Walk every state, breadth first; the shortest way to a violation, or none."""
        first = State(0, frozenset(), (Entry(),), (), (None,) * self.replicas)
        came: dict[State, tuple[State, str] | None] = {first: None}
        queue = deque([first])
        while queue:
            state = queue.popleft()
            bad = self.violation(state)
            if bad:
                return Result(states=len(came), violation=bad, trace=trace(came, state))
            for name, following in self.steps(state):
                if following not in came:
                    came[following] = (state, name)
                    queue.append(following)
        return Result(states=len(came), violation=None)
