"""Exhaustive model of who resumes a Job: two leaders in turn with caches that are behind, people, other controllers.

A Job of a run that waits for a slot. Each transition has the name of the step in `flow/jobs/queue`; the Job is a list
of versions, of which each leader has seen one. A request that was sent may arrive at any later moment, also when its
sender leads no more. `explore` walks every interleaving and returns the first violation, or None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

RULES = frozenset(
    {
        "word_tested",  # the write that admits tests who admits the Job, not only that it is suspended
        "start_tested",  # and that no start is noted: others may have let it run and suspended it meanwhile
        "word_changed",  # and changes that word, so that it lifts one suspension, once
        "word_read",  # a Job that says another party admits it is not sent an admission
        "start_noted",  # a waiting Job that others let run is marked as theirs
        "toggles_counted",  # only a Job that no other party has suspended or resumed is put back
        "version_tested",  # in the version in which it was seen not to start
        "mark_tested",  # the write that admits a Job that was put back tests that no other party has resumed it since
    }
)


class Version(NamedTuple):
    """The Job as the API server has it: suspended, who admits it (None: made by 1.0.0), and which start is noted.

    `synced`: the Job controller has seen that it may run. `toggles` is how often `suspend` changed (the generation),
    `own` how often we did that (annotations).
    """

    suspended: bool
    word: str | None
    start: int = 0
    synced: bool = False
    toggles: int = 0
    own: int = 0

    @property
    def started(self) -> bool:
        """Whether a start is noted."""
        return self.start > 0


class State(NamedTuple):
    """Versions of the Job (oldest first), what each leader has seen, requests under way, what people may still do.

    `ran`: the Job controller made a pod at some time; `released`: we let it run once, be it at its creation. `theirs`:
    another party has resumed or suspended it, since we put it back.
    """

    versions: tuple[Version, ...]
    seen: tuple[int, int]
    sent: tuple[tuple[str, Version], ...]
    ran: bool
    released: bool
    acts: int
    requeues: int = 0
    theirs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The first violation and its trace, or None; how many states were walked."""

    violation: str | None
    trace: tuple[str, ...]
    states: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A world: the Job's word at its creation, and the rule that is left out."""

    word: str | None = "waiting"
    suspended: bool = True
    without: str = ""
    acts: int = 4
    requeues: int = 0

    def explore(self) -> Result:
        """Walk every interleaving, breadth first."""
        first = Version(suspended=self.suspended, word=self.word)
        released = self.word == "admitted"
        start = State((first,), (0, 0), (), ran=False, released=released, acts=self.acts, requeues=self.requeues)
        before: dict[State, tuple[State, str] | None] = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            for name, after, bad in self._next(state):
                if after not in before:
                    before[after] = (state, name)
                    queue.append(after)
                if bad:
                    return Result(violation=bad, trace=_trace(before, state, name), states=len(before))
        return Result(violation=None, trace=(), states=len(before))

    def _has(self, rule: str) -> bool:
        return self.without != rule

    def _next(self, state: State) -> Iterator[tuple[str, State, str | None]]:
        now = state.versions[-1]
        for leader, seen in enumerate(state.seen):
            if seen + 1 < len(state.versions):
                moved = tuple(at + (index == leader) for index, at in enumerate(state.seen))
                yield f"{leader} watches", state._replace(seen=moved), None
            view = state.versions[seen]
            for step in self._sends(state, view):
                if len(state.sent) < 2 and (step, view) not in state.sent:
                    yield f"{leader} sends {step}", state._replace(sent=(*state.sent, (step, view))), None
        for request in state.sent:
            left = state._replace(sent=tuple(one for one in state.sent if one is not request))
            yield (f"{request[0]} is lost", left, None)
            yield (f"{request[0]} arrives", *self._arrives(left, *request))
        if not now.suspended and not now.synced:
            starts = now._replace(start=now.start + 1, synced=True)
            yield "the Job controller starts a pod", _put(state, starts, ran=True, theirs=state.theirs), None
        if state.acts:
            fewer = state._replace(acts=state.acts - 1)
            changed = now._replace(suspended=not now.suspended, synced=False, toggles=now.toggles + 1)
            yield (
                "another party " + ("resumes" if now.suspended else "suspends"),
                _put(fewer, changed, theirs=True),
                None,
            )
            noted = now.word != "waiting" or not self._has("start_noted")
            if now.suspended and now.started and noted and now.word is not None:
                yield "another party resets the start", _put(fewer, now._replace(start=0)), None

    def _sends(self, state: State, view: Version) -> Iterator[str]:
        """What a leader does about the Job as it sees it; it sees a start before it is reset (a second, by far)."""
        if not view.suspended:
            if view.word in {"waiting", "requeued"} and self._has("start_noted"):
                yield "note"
            alone = view.toggles == view.own or not self._has("toggles_counted")
            if view.word == "admitted" and view.synced and state.requeues and alone:
                yield "requeue"
            return
        if view.word == "requeued":
            if view.toggles == view.own:
                yield "admit"
            return
        theirs = self._has("word_read") and view.word in {"admitted", "elsewhere"}
        if not theirs and not view.started:
            yield "admit"

    def _arrives(self, state: State, step: str, view: Version) -> tuple[State, str | None]:
        now = state.versions[-1]
        if step == "requeue":
            return self._requeued(state, view)
        if self._has("word_tested") and now.word != view.word:
            return state, None
        if step == "note":
            noted = now.word in {"waiting", "requeued"}
            return (_put(state, now._replace(word="elsewhere")) if noted else state), None
        if view.word == "requeued":
            return self._admitted_again(state, now)
        if self._has("start_tested") and now.started:
            return state, None
        if not now.suspended:
            return state, None
        bad = "a Job was resumed that ran, or that we had let run" if state.ran or state.released else None
        word = "admitted" if self._has("word_changed") else now.word
        changed = now._replace(suspended=False, word=word, synced=False, toggles=now.toggles + 1, own=now.own + 1)
        return _put(state, changed, released=True), bad

    def _requeued(self, state: State, view: Version) -> tuple[State, str | None]:
        """The Job does not start: it is suspended again, marked with the start that was seen."""
        now = state.versions[-1]
        if now.suspended or (now != view and self._has("version_tested")):
            return state, None
        bad = "a Job was suspended that another party let run" if state.theirs else None
        changed = now._replace(suspended=True, word="requeued", synced=False, toggles=now.toggles + 1, own=now.own + 1)
        return _put(state._replace(requeues=state.requeues - 1), changed, theirs=False), bad

    def _admitted_again(self, state: State, now: Version) -> tuple[State, str | None]:
        if not now.suspended or now.word != "requeued":
            return state, None
        if self._has("mark_tested") and now.toggles != now.own:
            return state, None
        bad = "a suspension of another party was lifted" if state.theirs else None
        changed = now._replace(suspended=False, word="admitted", synced=False, toggles=now.toggles + 1, own=now.own + 1)
        return _put(state, changed), bad


def _put(state: State, version: Version, **more: bool) -> State:
    """The state with a new version of the Job."""
    return state._replace(versions=(*state.versions, version), **more)


def _trace(before: dict[State, tuple[State, str] | None], state: State, last: str) -> tuple[str, ...]:
    steps = [last]
    while (came := before[state]) is not None:
        state, name = came
        steps.append(name)
    return tuple(reversed(steps))
