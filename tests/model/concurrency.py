"""Exhaustive model of `spec.concurrency`: runs of one group, two leaders in turn with caches that are behind.

Each transition has the name of the step in `flow/jobs/queue`. A run's Job is in one phase at a time:

`-` not created, `w` waiting (suspended), `r` running, `d` being deleted while its pod lives, `o` its object is gone and
its pod lives, `f` finished, `x` deleted before it started, `c` stopped.

A request that was sent while its sender held the lease arrives before the next leader lists, or never; by the same
leader it may arrive at any time. `explore` walks every interleaving and returns the first violation, or None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

RULES = frozenset(
    {
        "group_counted",  # a Job of a group starts only while fewer than `limit` of it run
        "taken_counted",  # those whose request is under way count
        "deleting_counted",  # a Job that is being deleted counts until it is gone
        "lists_live",  # a new leader lists the Jobs before it admits
        "created_in_order",  # no Job is created unsuspended while one of its group waits
        "shown_first",  # a Job is admitted once the watch has shown it, and with it all that were created before
        "last_known",  # nor while the Job of the source's last run, which its entry names, is not seen yet
        "oldest_first",  # of a group the oldest Job is next
        "foreground",  # the object of a stopped Job exists until its pod is gone
        "newest_kept",  # only a run that a newer one has overtaken is deleted
        "settled_only",  # and only after both are recorded
        "version_tested",  # in the version that was seen: it may have been admitted meanwhile
        "recorded_policy",  # by the policy that the Job itself records
    }
)
_ALIVE, _OCCUPIES = frozenset("rdo"), frozenset("rd")
_STARTED = frozenset("rdofc")


class Leader(NamedTuple):
    """One replica: whether it takes itself for the leader, the phases that it sees, runs whose request is under way.

    `own` are runs that it sees only because it created their Jobs itself: its watch is behind.
    """

    leading: bool
    seen: str
    taken: frozenset[int]
    own: frozenset[int] = frozenset()


class State(NamedTuple):
    """Who holds the lease, both replicas, requests (sender, step, run, phase seen), phases, recorded runs, order."""

    holder: int
    leaders: tuple[Leader, Leader]
    sent: frozenset[tuple[int, str, int, str]]
    jobs: str
    settled: frozenset[int]
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The first violation and its trace, or None; how many states were walked."""

    violation: str | None
    trace: tuple[str, ...]
    states: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """A world under a policy, without one rule; `sources` has the source of each run of the group, in their order.

    `first` is the policy of run 0, before an edit.
    """

    policy: str
    without: str = ""
    sources: str = "aaa"
    first: str = ""

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.sources)

    def _before(self, run: int) -> int | None:
        """The run of the same source before this one."""
        return next((one for one in range(run - 1, -1, -1) if self.sources[one] == self.sources[run]), None)

    def explore(self) -> Result:
        """Walk every interleaving, breadth first."""
        nothing = "-" * self.runs
        leader = Leader(leading=True, seen=nothing, taken=frozenset())
        none: frozenset[int] = frozenset()
        start = State(0, (leader, leader._replace(leading=False)), frozenset(), nothing, none, ())
        before: dict[State, tuple[State, str] | None] = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            moved = False
            for name, after in self._next(state):
                moved = True
                if after in before:
                    continue
                before[after] = (state, name)
                bad = self._violation(state, after)
                if bad:
                    return Result(violation=bad, trace=_trace(before, after), states=len(before))
                queue.append(after)
            if not moved and (bad := self._ends_badly(state)):
                return Result(violation=bad, trace=_trace(before, state), states=len(before))
        return Result(violation=None, trace=(), states=len(before))

    def _has(self, rule: str) -> bool:
        return self.without != rule

    def _policy_of(self, run: int) -> str:
        return self.first if self.first and run == 0 and self._has("recorded_policy") else self.policy

    def _violation(self, before: State, after: State) -> str | None:
        if sum(phase in _ALIVE for phase in after.jobs) > 1:
            return "two pods of the group live at the same time"
        for source in set(self.sources):
            order = [run for run in after.order if self.sources[run] == source]
            if order != sorted(order):
                return "an older run started after a newer one"
        for run, (was, is_) in enumerate(zip(before.jobs, after.jobs, strict=True)):
            if is_ in "xdoc" and was in "wr" and run not in before.settled:
                return "a run was deleted before it was recorded: it is created again"
            stopped = was == "r" and is_ in "doc"
            if stopped and (self.first if self.first and run == 0 else self.policy) != "Replace":
                return "a run was stopped whose policy does not allow that"
        return None

    def _ends_badly(self, state: State) -> str | None:
        for run, phase in enumerate(state.jobs):
            if phase != "f" and self.sources.rindex(self.sources[run]) == run:
                return "the newest run of a source did not run to its end"
            if phase != "f" and (self.first if self.first and run == 0 else self.policy) == "Queue":
                return "a run of Queue did not run"
        return None

    def _next(self, state: State) -> Iterator[tuple[str, State]]:
        for number, leader in enumerate(state.leaders):
            holds = state.holder == number
            if leader.seen != state.jobs or leader.own:
                # A leader whose taken run is seen to run counts it by what it sees.
                taken = frozenset(run for run in leader.taken if state.jobs[run] in "-w")
                yield (
                    f"{number} watches",
                    _with(state, number, leader._replace(seen=state.jobs, taken=taken, own=frozenset())),
                )
            if leader.leading and holds:
                yield from self._acts(state, number, leader)
            if leader.leading and not holds:
                yield f"{number} notices", _with(state, number, leader._replace(leading=False))
        yield from self._creates(state)
        for request in sorted(state.sent):
            left = state._replace(sent=state.sent - {request})
            yield f"{request[1]} {request[2]} of {request[0]} arrives", self._arrives(left, *request[1:])
            # The outcome is read after a while; then it is sent again.
            yield f"{request[1]} {request[2]} of {request[0]} is lost", _untaken(left, request)
        for run, phase in enumerate(state.jobs):
            if phase != "-" and run not in state.settled:
                yield f"{run} is settled", state._replace(settled=state.settled | {run})
            if phase == "r":
                yield f"the pod of {run} ends", _put(state, run, "f")
            elif phase in "do":
                yield f"the pod of {run} is gone", _put(state, run, "c")
        if state.holder == 0 and not state.sent:
            seen = state.jobs if self._has("lists_live") else state.leaders[1].seen
            yield "1 is the leader", _with(state._replace(holder=1), 1, Leader(True, seen, frozenset()))

    def _creates(self, state: State) -> Iterator[tuple[str, State]]:
        """The next run, by the leader or by the other replica; the source's last one is settled before."""
        run = state.jobs.find("-")
        last = self._before(run) if run >= 0 else None
        if run < 0 or any(sent[2] == run for sent in state.sent) or (last is not None and last not in state.settled):
            return
        yield f"{run} is created suspended", _put(state, run, "w")
        leader = state.leaders[state.holder]
        if leader.leading and "-" in leader.seen[:run]:  # else its watch could show this creation as well
            seen = leader.seen[:run] + "w" + leader.seen[run + 1 :]
            own = leader._replace(seen=seen, own=leader.own | {run})
            yield f"{state.holder} creates {run} suspended", _with(_put(state, run, "w"), state.holder, own)
        if leader.leading and self._is_free(leader) and not self._waits_before(leader, run):
            taken = leader._replace(taken=leader.taken | {run})
            after = _with(state, state.holder, taken)
            yield (
                f"{state.holder} sends post {run}",
                after._replace(sent=state.sent | {(state.holder, "post", run, "-")}),
            )

    def _is_free(self, leader: Leader) -> bool:
        if not self._has("group_counted"):
            return True
        counted = _OCCUPIES if self._has("deleting_counted") else frozenset("r")
        held = {run for run, phase in enumerate(leader.seen) if phase in counted}
        return not (held | leader.taken if self._has("taken_counted") else held)

    def _waits_before(self, leader: Leader, run: int) -> bool:
        last = self._before(run)
        if last is not None and leader.seen[last] == "-" and self._has("last_known"):
            return True
        return self._has("created_in_order") and "w" in leader.seen[:run]

    def _acts(self, state: State, number: int, leader: Leader) -> Iterator[tuple[str, State]]:
        busy = {sent[2] for sent in state.sent}
        waiting = [run for run, phase in enumerate(leader.seen) if phase == "w" and run not in leader.taken]
        if waiting and self._is_free(leader):
            for run in waiting[:1] if self._has("oldest_first") else waiting:
                if run in leader.own and self._has("shown_first"):
                    continue
                yield from self._sends(state, number, "admit", run, "w")
        for run, phase in enumerate(leader.seen):
            if run in busy or run in leader.taken or not self._may_be_overtaken(state, run):
                continue
            policy = self._policy_of(run)
            if phase == "w" and policy in {"QueueLatest", "Replace"}:
                yield from self._sends(state, number, "supersede", run, phase)
            elif phase == "r" and policy == "Replace" and self._is_awaited(leader, run):
                yield from self._sends(state, number, "replace", run, phase)

    def _is_awaited(self, leader: Leader, run: int) -> bool:
        newer = range(run + 1, self.runs)
        return any(leader.seen[one] == "w" and self.sources[one] == self.sources[run] for one in newer)

    def _may_be_overtaken(self, state: State, run: int) -> bool:
        newer = {one for one in range(run + 1, self.runs) if self.sources[one] == self.sources[run]}
        if not self._has("newest_kept"):
            return run in state.settled
        if not self._has("settled_only"):
            return bool(newer)
        return bool(newer & state.settled)

    def _sends(self, state: State, number: int, step: str, run: int, phase: str) -> Iterator[tuple[str, State]]:
        if len(state.sent) < 2:
            leader = state.leaders[number]
            taken = leader.taken | {run} if step == "admit" else leader.taken
            after = _with(state, number, leader._replace(taken=taken))
            yield f"{number} sends {step} {run}", after._replace(sent=state.sent | {(number, step, run, phase)})

    def _arrives(self, state: State, step: str, run: int, seen: str) -> State:
        phase = state.jobs[run]
        if step == "post":
            return _put(state, run, "r") if phase == "-" else state
        if step == "admit":
            return _put(state, run, "r") if phase == "w" else state
        if phase not in "wr" or (self._has("version_tested") and phase != seen):
            return state
        if phase == "w":
            return _put(state, run, "x")
        return _put(state, run, "d" if self._has("foreground") else "o")


def _with(state: State, number: int, leader: Leader) -> State:
    leaders = (leader, state.leaders[1]) if number == 0 else (state.leaders[0], leader)
    return state._replace(leaders=leaders)


def _untaken(state: State, request: tuple[int, str, int, str]) -> State:
    leader = state.leaders[request[0]]
    return _with(state, request[0], leader._replace(taken=leader.taken - {request[2]}))


def _put(state: State, run: int, phase: str) -> State:
    order = (*state.order, run) if phase == "r" else state.order
    return state._replace(jobs=state.jobs[:run] + phase + state.jobs[run + 1 :], order=order)


def _trace(before: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (came := before[state]) is not None:
        state, name = came
        steps.append(name)
    return tuple(reversed(steps))
