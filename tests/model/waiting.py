"""Exhaustive model of changes that wait: windows, debounce and cooldown, by a clock that counts, through crashes.

A run may fail, and is run again one tick later at the earliest; a run's Job may find no free slot, and start later.

One trigger and one source; the ledger's own steps are in `ledger.py`. A wait is a timer of the leader and what the
source's entry records. A crash, or a change of leader, loses the timer: then the sweep finds the open request (or the
scheduler the time that is not handled), and the check is done again. `explore` walks every sequence of pushes, crashes
and ticks within a horizon, and returns the first violation with its trace, or None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

RULES = frozenset(
    {
        "handles_nothing",  # a check that waits leaves its requests open, and its scheduled time unhandled
        "observes_again",  # when the wait ends git is asked again: the newest commit runs, and not the one that waited
        "first_move_kept",  # when the reference moved first is in the entry: a crash does not begin the wait again
        "last_start_kept",  # when the last run started is in the entry
        "wait_tests",  # what is recorded of a wait goes with the run that ends it
        "moves_reset",  # a move begins the quiet time again
        "retry_keeps_wait",  # a retry of the commit before does not end the wait of a newer one
        "decides_again",  # a wait that ends is decided on again: another reason to wait may hold by then
        "retry_waits",  # a failed run is run again inside the windows, and not sooner than `cooldown` after its start
        "retry_yields",  # nor while a newer commit waits for one of these: that one runs instead
        "start_waits",  # a Job that waits for its slot starts inside the windows, too
    }
)


class Waiting(NamedTuple):
    """What the entry records of a wait: the commit, and when the reference moved first and last."""

    commit: int
    since: int
    moved: int


class State(NamedTuple):
    """The world: time, head, what the entry records, the leader's timer, the runs, and the crashes so far."""

    now: int = 0
    head: int = 0
    commit: int = 0
    is_open: bool = False
    waiting: Waiting | None = None
    last_start: int | None = None
    timer: tuple[int, int] | None = None  # until, and the head that was seen
    pending: bool = False  # a check is to be done now
    runs: tuple[tuple[int, int, int], ...] = ()  # commit, start, and the head when it was created; -1: a retry
    crashes: int = 0
    retries: int = 0
    moves: tuple[tuple[int, int], ...] = ()  # head and time
    failed: tuple[int, int] | None = None  # the commit of the last run, and when it failed
    failures: int = 0
    queued: int | None = None  # the commit of a Job that waits for its slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """States walked, and the first violation with its trace, if any."""

    states: int
    violation: str | None
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A trigger's policies, and the rule that is left out. Times are ticks."""

    without: str = ""
    window: tuple[int, int] | None = None
    quiet: int = 0
    longest: int = 0
    cooldown: int = 0
    horizon: int = 9
    pushes: int = 3
    crashes: int = 1
    retries: int = 0  # those decided before the wait of a newer commit was recorded
    failures: int = 0
    full: bool = False  # the first Job finds no free slot

    def explore(self) -> Result:
        """Walk every sequence, breadth first."""
        start = State(failed=(0, 0) if self.failures else None)  # the run before failed
        before: dict[State, tuple[State, str] | None] = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            for name, after in self._next(state):
                if after in before:
                    continue
                before[after] = (state, name)
                bad = self._violation(after)
                if bad:
                    return Result(states=len(before), violation=bad, trace=_trace(before, after))
                queue.append(after)
        return Result(states=len(before), violation=None)

    def _has(self, rule: str) -> bool:
        return self.without != rule

    def _next(self, state: State) -> Iterator[tuple[str, State]]:
        last_push = self.horizon - self._longest_wait()
        if state.head < self.pushes and state.now <= last_push:
            moved = state._replace(head=state.head + 1, is_open=True, pending=True)
            moved = moved._replace(moves=(*state.moves, (moved.head, state.now)))
            yield f"push {moved.head}", moved
            if state.timer is not None:
                yield f"push {moved.head}, without a delivery", moved._replace(pending=False)
        if state.crashes < self.crashes and (state.timer or state.pending):
            yield "crash", self._swept(state._replace(timer=None, pending=False, crashes=state.crashes + 1))
        if state.retries < self.retries and state.waiting is not None:
            kept = state.waiting if self._has("retry_keeps_wait") else None
            yield f"retry {state.commit}", state._replace(retries=state.retries + 1, waiting=kept)
        yield from self._fails(state)
        if state.queued is not None and (self._is_open(state.now) or not self._has("start_waits")):
            started = state._replace(queued=None, last_start=state.now)
            yield f"start {state.queued}", started._replace(runs=(*state.runs, (state.queued, state.now, state.queued)))
        if state.pending:
            yield from self._check(state)
        elif state.timer is not None and state.timer[0] <= state.now:
            yield from self._ends(state)
        elif state.now < self.horizon:
            yield "tick", state._replace(now=state.now + 1)

    def _fails(self, state: State) -> Iterator[tuple[str, State]]:
        """The last run fails, or is run again: only while no newer one is recorded."""
        if state.runs and state.failures < self.failures and state.failed is None and state.queued is None:
            yield f"fail {state.commit}", state._replace(failed=(state.commit, state.now), failures=state.failures + 1)
        if state.failed is None or state.failed[0] != state.commit or state.now <= state.failed[1] or state.pending:
            return
        if self._has("retry_waits") and self._until(state._replace(moves=()), -self.horizon, -self.horizon) > state.now:
            return
        if self._has("retry_yields") and state.waiting is not None and (self.cooldown or self.window):
            return
        again = state._replace(failed=None, last_start=state.now)
        yield f"run {state.commit} again", again._replace(runs=(*state.runs, (state.commit, state.now, -1)))

    def _swept(self, state: State) -> State:
        """The next leader finds what is open, and checks it."""
        kept = state.waiting if self._has("first_move_kept") else None
        start = state.last_start if self._has("last_start_kept") else None
        return state._replace(pending=state.is_open, waiting=kept, last_start=start)

    def _ends(self, state: State) -> Iterator[tuple[str, State]]:
        """The time has come: the check is done again."""
        assert state.timer is not None
        seen = state.timer[1]
        if not self._has("observes_again"):
            yield f"run {seen}, as seen", self._run(state, seen)
        elif not self._has("decides_again"):
            yield f"run {state.head}", self._run(state, state.head)
        else:
            yield "again", state._replace(timer=None, pending=True)

    def _check(self, state: State) -> Iterator[tuple[str, State]]:
        """Ask git, decide: nothing, wait or run."""
        if state.head == state.commit:
            yield "same", state._replace(pending=False, is_open=False, waiting=None, timer=None)
            return
        waiting = state.waiting
        since = waiting.since if waiting else state.now
        same = waiting is not None and (waiting.commit == state.head or not self._has("moves_reset"))
        moved = waiting.moved if waiting is not None and same else state.now
        until = self._until(state, since, moved)
        if until <= state.now:
            yield f"run {state.head}", self._run(state, state.head)
            return
        held = state._replace(pending=False, waiting=Waiting(state.head, since, moved), timer=(until, state.head))
        if not self._has("handles_nothing"):
            held = held._replace(is_open=False, timer=held.timer)
        yield f"wait until {until}", held

    def _until(self, state: State, since: int, moved: int) -> int:
        times = [state.now]
        if self.cooldown and state.queued is not None:
            times.append(state.now + self.cooldown)
        if self.quiet:
            times.append(min(moved + self.quiet, since + self.longest))
        if self.cooldown and state.last_start is not None:
            times.append(state.last_start + self.cooldown)
        if self.window is not None and not self._is_open(state.now):
            times.append(self.window[0] if state.now < self.window[0] else self.horizon + 1)
        return max(times)

    def _run(self, state: State, commit: int) -> State:
        """The Job is created and settled, which ends the wait; requests for later commits stay open."""
        waiting = None if self._has("wait_tests") else state.waiting
        is_open = state.is_open and commit != state.head
        if self.full and not state.runs and state.queued is None:
            queued = state._replace(queued=commit, commit=commit, is_open=is_open, waiting=waiting, timer=None)
            return queued._replace(pending=is_open, failed=None)
        return state._replace(
            failed=None,
            commit=commit,
            is_open=is_open,
            waiting=waiting,
            last_start=state.now,
            timer=None,
            pending=is_open,
            runs=(*state.runs, (commit, state.now, state.head)),
        )

    def _is_open(self, at: int) -> bool:
        return self.window is None or self.window[0] <= at < self.window[1]

    def _longest_wait(self) -> int:
        return max(self.longest, self.cooldown) + 1

    def _violation(self, state: State) -> str | None:
        """A run at a wrong time, one too many, or (at the end) none of the newest commit."""
        for number, (commit, at, head) in enumerate(state.runs):
            if commit != head and head >= 0:
                return f"commit {commit} ran while {head} was the head"
            if not self._is_open(at):
                return f"commit {commit} ran at {at}, outside the window"
            if number and self.cooldown and at - state.runs[number - 1][1] < self.cooldown:
                return f"commit {commit} ran {at - state.runs[number - 1][1]} after the run before"
            if head < 0:
                continue  # a retry: no change that rests
            before_it = max((one for one, *_ in state.runs[:number]), default=0)
            first = min((when for head, when in state.moves if head > before_it), default=at)
            if self.cooldown and not self.quiet and self.window is None and at > first + self.cooldown:
                return f"commit {commit} waited {at - first} for the time between runs"
            alone = not self.cooldown and self.window is None
            if self.quiet and alone and at > first + self.longest:
                return f"commit {commit} ran {at - first} after the first move"
            recent = max(when for _, when in state.moves if when <= at and _ <= commit)
            if self.quiet and at < min(recent + self.quiet, first + self.longest):
                return f"commit {commit} ran {at - recent} after the last move"
        before = [when for _, when in state.moves if self.window is not None and when < self.window[0]]
        fresh = [row for number, row in enumerate(state.runs) if row[0] not in {one for one, *_ in state.runs[:number]}]
        if before and len(fresh) > 1 + sum(when >= self.window[0] for _, when in state.moves):  # type: ignore[index]
            return f"{len(fresh)} runs for what was pushed before the opening"
        done = state.now == self.horizon and not state.pending
        if done and not (state.timer and state.timer[0] <= state.now) and state.head != state.commit:
            late = state.timer is not None and state.timer[0] > self.horizon and self.window is not None
            if not late:
                return f"commit {state.head} never ran"
        return None


def _trace(before: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (came := before[state]) is not None:
        state, name = came
        steps.append(name)
    return tuple(reversed(steps))
