"""Exhaustive model of the run ledger: one trigger, one source, replicas with stale caches, crashes, lost answers.

Each transition has the name of the step in `flow/checks` and the mutation in `rules/ledger/mutations`. `explore` walks
every interleaving and returns the first violation with its trace, or None; so a rule is shown to be needed by leaving
it out.

Heads are letters: the commits that the reference shows one after another. Letters that differ in case only have the
same selected files (`Aa`), which matters with the `files` event. With the `lag` event git shows a head later than the
delivery that announces it (up to the 30 s after which an announcement is not waited for any more). With the `polls`
event scheduled times cause checks, by a leader whose cache is current then: what was pushed before one must have run
when its check is over. With `calls` beside it, deliveries do so too.

A head `-` is a reference that was deleted: the Job of `onDelete` runs then. With the `hides` event git leaves the
reference out of one complete answer for a moment, although it exists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.ledger_rules import RULES
from tests.model.ledger_state import Entry, Job, Replica, State
from tests.model.walk import forget_unseen, trace

_FAR, _RAISED = 90, 40
GONE = "-"  # a head that is no commit: the reference was deleted; a Job with it is that of `onDelete`
HIDDEN = "~"  # what git shows of a reference that it leaves out for a moment: nothing, as of a deleted one
FORGED = "?"  # the commit of a Job that somebody else made, with a number that the entry does not allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """States visited, and the violation found (with the transitions that lead to it), if any."""

    states: int
    violation: str | None
    trace: str = ""


class Model:
    """The protocol with `events` and `replicas` lanes.

    Events: always, files, crash, lost, lag, ttl, deleted, wipe, edit, forged, polls, calls, hides; `record`: a first
    check by schedule runs nothing; `annotation`: a person requests a run, once for each head at most; `retry`: any Job
    may fail, and failed ones are run again, `retries` times; `waits`: changes wait until a window opens; `shared`: one
    of several references, without an entry at first, whose numbers follow the highest one that was pruned. An edit of
    the number of runs comes while no run is being made: what is made just then is the known remainder.
    """

    def __init__(
        self, heads: str, *, without: str = "", events: str = "", replicas: int = 2, crashes: int = 1, retries: int = 1
    ) -> None:
        self.heads = heads
        self.rules = RULES - set(without.split())
        self.events = set(events.split())
        self.replicas = replicas
        self.crashes = crashes if "crash" in self.events else 0
        self.on_change = "always" not in self.events
        self.polls = "polls" in self.events
        self.shared = "shared" in self.events
        self.calls = not self.polls or "calls" in self.events
        self.retries = retries if "retry" in self.events else 0
        self.most_jobs = (len(heads) * 2 + 2) * (1 + self.retries)

    def same_files(self, old: str | None, new: str) -> bool:
        """Whether the selected files of two commits are the same, as `rules/decision` knows."""
        return "files" in self.events and old is not None and old.upper() == new.upper()

    def allows(self, entry: Entry, job: Job) -> bool:
        """Whether a Job can be a run of the entry's, as `rules/identity` decides."""
        if "numbers_allowed" not in self.rules:
            return True
        fresh = "fresh_allows" in self.rules and entry.commit is None
        fresh = fresh or not entry.numbered
        return fresh or job.number <= entry.runs + 1

    def unsettled(self, jobs: tuple[Job, ...], entry: Entry) -> Job | None:
        """The Job to settle before anything else."""
        runs = entry.runs
        above = [job for job in jobs if job.alive and job.number > runs and self.allows(entry, job)]
        if not above:
            return None
        if "settle_highest" in self.rules:
            return max(above)
        following = [job for job in above if job.number == runs + 1]
        return following[-1] if following else None

    def is_retried(self, job: Job, entry: Entry) -> bool:
        """Whether a Job is to be run again, by the Job and the entry."""
        last = entry.runs == job.number or ("retry_of_last" not in self.rules and entry.runs > job.number)
        return job.alive and job.failed and job.attempt < self.retries and last

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Every transition possible from `state`, as (name, next state)."""
        live = state.entries[-1]
        if state.head + 1 < len(self.heads):
            shown = state.shown if "lag" in self.events else state.head + 1
            yield f"push {self.heads[state.head + 1]}", state._replace(head=state.head + 1, shown=shown)
        if state.shown < state.head:
            yield f"git shows {self.heads[state.shown + 1]}", state._replace(shown=state.shown + 1)
        if "lag" in self.events and state.expired < live.announced <= state.shown:
            yield f"{self.heads[live.announced]} announced 30 s ago", state._replace(expired=live.announced)
        if "wipe" in self.events and not state.wiped and live.runs > 0:
            empty = Entry(
                0,
                None,
                live.requested - live.handled,
                0,
                live.announced,
                runs_requested=live.runs_requested - live.runs_handled,
            )
            yield "wipe", state._replace(entries=(*state.entries, empty), wiped=1)
        if "hides" in self.events and self.heads[state.head] != GONE:
            if not state.hidden:
                yield "git leaves it out", state._replace(hidden=1)
            elif state.hidden == 1:
                yield "git shows it again", state._replace(hidden=2)
        if GONE in self.heads and live.commit is None and live.runs and live.requested == live.handled:
            left = live.runs if "numbers_go_on" in self.rules else 0
            late = all(
                r.at == "idle" or _read(r) == live._replace(reserved=False, absent=False) for r in state.replicas
            )
            late = (late or "pruned_late" not in self.rules) and not (live.absent or live.reserved)
            if late and (live.requested or self.shared) and not state.pruned and not self.unsettled(state.jobs, live):
                none = Entry(left, None, 0, 0, absent=self.shared)
                yield "prune", state._replace(entries=(*state.entries, none), pruned=1)
                if self.shared and not state.raised:
                    entries = (*state.entries, none._replace(runs=left + 1))
                    yield "prune, and a higher one", state._replace(entries=entries, pruned=1, raised=1)
        if live.absent and not state.raised:
            raised = (*state.entries, live._replace(runs=live.runs + 1))
            yield "prune another, higher one", state._replace(entries=raised, raised=1)
        if live.reserved and all(r.at not in {"post", "settle"} for r in state.replicas):
            yield "three minutes later", state._replace(entries=(*state.entries[:-1], live._replace(reserved=False)))
        making = any(r.at in {"post", "settle"} for r in state.replicas) or self.unsettled(state.jobs, live)
        if "edit" in self.events and not state.wiped and live.runs > 0 and not making:
            raised = "edited_raises" in self.rules
            edited = live._replace(runs=_RAISED if raised else 0, numbered=raised)
            yield "edit", state._replace(entries=(*state.entries, edited), wiped=1)
        forged = any(job.commit == FORGED for job in state.jobs)
        if "forged" in self.events and not forged and live.commit is not None:
            jobs = (*state.jobs, Job(_FAR, FORGED, 0, alive=True))
            yield f"forged {_FAR}", state._replace(jobs=jobs)
        posting = any(r.at == "post" and r.data is not None and not r.data[2] for r in state.replicas)
        if not state.opened:
            yield "the window opens", state._replace(opened=True, due=-1)  # what waited is checked again
        for place, job in enumerate(state.jobs):
            gone = (*state.jobs[:place], job._replace(alive=False), *state.jobs[place + 1 :])
            if self.retries and job.alive and not job.failed:
                failed = (*state.jobs[:place], job._replace(failed=True), *state.jobs[place + 1 :])
                yield f"job {job.number} fails", state._replace(jobs=failed)
            settled = job.alive and job.number <= live.runs
            if "ttl_after_retry" in self.rules and self.is_retried(job, live):
                continue
            if settled and (("ttl" in self.events and not posting) or "deleted" in self.events):
                yield f"job {job.number} removed", state._replace(jobs=gone)
        for lane in range(len(state.replicas)):
            yield from self.lane_steps(state, lane)

    def lane_steps(self, state: State, lane: int) -> Iterator[tuple[str, State]]:
        """The transitions of one replica: a delivery counted, a crash, and the next step of its check."""
        me = state.replicas[lane]
        latest = len(state.entries) - 1
        live = state.entries[-1]

        def become(
            at: str,
            seen: int,
            data: tuple[object, ...] | None,
            *,
            wake: bool,
            polls: bool | None = None,
            poll: bool | None = None,
            kept: int = me.kept,
            **world: object,
        ) -> State:
            replicas = list(state.replicas)
            if polls is None:
                polls = wake and (me.polls if me.wake else me.poll)
            poll = (me.poll if poll is None else poll) and at != "idle"
            replicas[lane] = Replica(at, seen, data, wake, polls, poll, kept)
            return state._replace(replicas=tuple(replicas), **world)  # type: ignore[arg-type]

        def write(entry: Entry) -> dict[str, object]:
            return {"entries": (*state.entries, entry)}

        if self.polls and state.due < state.head and not self.polled(state):
            kept = me.kept if "kept_after_due" not in self.rules else -1
            yield f"{lane} scheduled", become("idle", latest, None, wake=True, polls=True, kept=kept, due=state.head)
        if self.polls and me.kept != state.shown:
            yield f"{lane} another check asks", become(me.at, me.seen, me.data, wake=me.wake, kept=state.shown)
        if self.calls and state.delivered <= state.head:
            counted = live._replace(requested=live.requested + 1, absent=False)
            if "lag" in self.events:
                counted = counted._replace(announced=state.delivered)
            seen = latest + 1 if "own_writes" in self.rules and me.at == "idle" else me.seen
            world = write(counted) | {"delivered": state.delivered + 1}
            yield f"{lane} count {counted.requested}", become(me.at, seen, me.data, wake=True, polls=False, **world)
        if "annotation" in self.events and live.runs_requested < len(self.heads) and not state.wiped:
            seen = latest + 1 if "own_writes" in self.rules and me.at == "idle" else me.seen
            world = write(live._replace(runs_requested=live.runs_requested + 1))
            yield (
                f"{lane} run requested {live.runs_requested + 1}",
                become(me.at, seen, me.data, wake=True, polls=False, **world),
            )
        if state.crashes < self.crashes and (me.at != "idle" or me.wake):
            # The next leader makes up what is not recorded.
            world: dict[str, object] = {"crashes": state.crashes + 1, "due": -1}
            yield f"{lane} crash", become("idle", latest, None, wake=False, kept=-1, **world)
        if me.at == "idle":
            if me.wake:
                for version in range(me.seen, latest + 1):
                    read = (state.entries[version],)
                    yield f"{lane} read {version - latest}", become("ask", version, read, wake=False, poll=me.polls)
            else:
                if live.requested > live.handled or live.runs_requested > live.runs_handled:
                    yield f"{lane} sweep requests", become("idle", latest, None, wake=True, polls=False)
                job = self.unsettled(state.jobs, live)
                if job:
                    yield f"{lane} sweep job {job.number}", become("settle", latest, _settled_from(job), wake=me.wake)
                yield from self.retry(state, lane, me, live, latest, become)
            return
        assert me.data is not None
        if me.at == "ask":
            (entry,) = me.data
            assert isinstance(entry, Entry)
            for known in {len(state.jobs), max(0, len(state.jobs) - 1)}:
                job = self.unsettled(state.jobs[:known], entry) if "settle_first" in self.rules else None
                if job:
                    yield f"{lane} unsettled {job.number}", become("settle", me.seen, _settled_from(job), wake=me.wake)
                else:
                    head = HIDDEN if state.hidden == 1 else self.heads[state.shown]
                    data = (entry, head, state.expired)
                    kept = state.shown if self.polls else me.kept
                    yield f"{lane} ask {head}", become("decide", me.seen, data, wake=me.wake, kept=kept)
                    if self.keeps(me, entry):
                        data = (entry, self.heads[me.kept], state.expired)
                        yield f"{lane} kept {data[1]}", become("decide", me.seen, data, wake=me.wake)
        elif me.at == "decide":
            yield from self.decide(state, lane, me, live, latest, become)
        elif me.at == "skip":
            entry, commit, request = me.data
            assert isinstance(entry, Entry)
            assert isinstance(request, int)
            handled = max(live.handled, min(request, live.requested))
            written = live._replace(commit=commit, handled=handled, numbered=True)
            first = {"recorded": commit} if entry.commit is None else {}
            if "skip_tests" in self.rules and live[:2] != entry[:2]:
                yield f"{lane} skip refused", become("idle", latest, None, wake=True)
            elif written == live:
                yield f"{lane} skip done", become("idle", latest, None, wake=me.wake)
            else:
                name = "skip" if commit == live.commit else f"skip_commit {commit}"
                yield (
                    f"{lane} {name} h{handled}",
                    become("idle", latest + 1, None, wake=me.wake, **write(written._replace(absent=False)), **first),
                )
        elif me.at == "post":
            yield from self.post(state, lane, me, latest, become)
        elif me.at == "settle":
            number, commit, request, again, by_annotation, attempt = me.data
            assert isinstance(number, int)
            assert isinstance(request, int)
            assert isinstance(by_annotation, int)
            wake = me.wake or bool(again)
            if live.runs >= number:
                yield f"{lane} settled already", become("idle", latest, None, wake=wake)
            elif not self.allows(live, Job(number, str(commit), request, alive=True)):
                yield f"{lane} settle refused", become("idle", latest, None, wake=True)
            else:
                asked = min(request, live.requested)
                handled = asked if "settle_lowers" in self.rules else max(live.handled, asked)
                if attempt and "retry_handles_nothing" in self.rules:
                    handled = live.handled
                runs_handled = by_annotation if "run_request_of_job" in self.rules else live.runs_requested
                runs_handled = max(live.runs_handled, min(runs_handled, live.runs_requested))
                counted = live.requested, handled, live.announced
                forgets = commit == GONE and "deletion_forgets" in self.rules
                settled = None if forgets else live.commit if commit == GONE else str(commit)
                entry = Entry(number, settled, *counted, runs_requested=live.runs_requested, runs_handled=runs_handled)
                name = f"{lane} settle {number}={commit} h{handled}"
                yield name, become("idle", latest + 1, None, wake=wake, **write(entry))

    @staticmethod
    def polled(state: State) -> bool:
        """Whether a check waits or is under way: one that ends after a scheduled time is the next one's to find."""
        return any(replica.wake or replica.at != "idle" for replica in state.replicas)

    def keeps(self, me: Replica, entry: Entry) -> bool:
        """Whether git's last answer is used instead of a new one."""
        if not self.polls or me.kept < 0:
            return False
        same = self.heads[me.kept] == entry.commit or "kept_same" not in self.rules
        return same and ((me.poll and entry.requested <= entry.handled) or "kept_for_polls" not in self.rules)

    def decide(self, state, lane, me, live, latest, become):  # type: ignore[no-untyped-def]
        """Fire, skip, wait for what was announced, or nothing; then the live read."""
        entry, commit, asked = me.data
        if commit in {GONE, HIDDEN}:
            absent = entry.commit is not None or entry.requested > entry.handled
            sure = (entry.missing and commit == GONE) or "deletion_confirmed" not in self.rules
            commit = GONE
            if absent and not sure:
                if live[:2] == entry[:2] and not live.missing:
                    entries = (*state.entries, live._replace(missing=True))
                    yield f"{lane} missing", become("idle", latest + 1, None, wake=True, entries=entries)
                else:
                    yield f"{lane} missing still", become("idle", latest, None, wake=True)
                return
            if entry.commit is None:
                if entry.requested > entry.handled:
                    yield f"{lane} absent", become("skip", me.seen, (entry, None, entry.requested), wake=me.wake)
                else:
                    yield f"{lane} absent", become("idle", me.seen, None, wake=me.wake)
                return
        changed = commit != entry.commit and not self.same_files(entry.commit, commit)
        fire = changed if self.on_change else entry.requested > entry.handled
        by_annotation = entry.runs_requested > entry.runs_handled
        expired = asked if "age_when_asked" in self.rules else state.expired
        unseen = "announced_waits" in self.rules and expired < entry.announced and self.heads[entry.announced] != commit
        waits = unseen and entry.requested > entry.handled
        if waits and commit == entry.commit and not by_annotation:
            yield f"{lane} wait", become("idle", me.seen, None, wake=True)
            return
        request = entry.requested - 1 if waits and "fired_waits" in self.rules else entry.requested
        if not self.on_change:
            request = entry.requested
        fire = fire or by_annotation
        if "record" in self.events and entry.commit is None and not by_annotation:
            yield f"{lane} first", become("skip", me.seen, (entry, commit, request), wake=me.wake or waits)
        if not fire:
            if entry.requested <= entry.handled and commit == entry.commit:
                yield f"{lane} nothing", become("idle", me.seen, None, wake=me.wake)
            else:
                recorded = commit if self.on_change else entry.commit
                wake = me.wake or waits
                yield f"{lane} skip decided", become("skip", me.seen, (entry, recorded, request), wake=wake)
        elif not (state.opened or by_annotation):
            if "wait_handles_nothing" in self.rules:
                yield f"{lane} waits", become("idle", me.seen, None, wake=me.wake)
            else:
                yield f"{lane} waits", become("skip", me.seen, (entry, entry.commit, request), wake=me.wake)
        elif "live_read" in self.rules and live[:2] != entry[:2]:
            yield f"{lane} restart", become("idle", latest, None, wake=True)
        elif self.shared and live.commit is None and not live.reserved and "number_reserved" in self.rules:
            entries = (*state.entries[:-1], live._replace(absent=False, reserved=True))  # all read the same in it
            yield f"{lane} reserve {live.runs + 1}", become("decide", latest, me.data, wake=me.wake, entries=entries)
        else:
            data = (entry, commit, False, request, None)
            yield f"{lane} live read", become("post", me.seen, data, wake=me.wake or waits)

    def retry(self, state, lane, me, live, latest, become):  # type: ignore[no-untyped-def]
        """The leader runs a failed Job again: decided by the Job and an entry that may be old; then the live read."""
        for version in range(me.seen, latest + 1):
            entry = state.entries[version]
            for job in state.jobs:
                if not self.is_retried(job, entry):
                    continue
                if "live_read" in self.rules and live[:2] != entry[:2]:
                    yield f"{lane} retry of {job.number} not now", become("idle", latest, None, wake=me.wake)
                else:
                    data = (entry, job.commit, False, entry.requested, job)
                    yield f"{lane} retry of {job.number}", become("post", version, data, wake=me.wake)

    def post(self, state, lane, me, latest, become):  # type: ignore[no-untyped-def]
        """Create the Job of the next number: 201, an answer lost, or 409 with whoever made it."""
        entry, commit, unknown, request, failed = me.data
        attempt = 0 if failed is None else failed.attempt + 1 if "attempt_on_job" in self.rules else 1
        by_annotation = entry.runs_requested if failed is None else failed.run_request
        number = entry.runs + 1
        if unknown and "unknown_rereads" in self.rules:
            yield f"{lane} reread", become("idle", latest, None, wake=True)
            return
        existing = [job for job in state.jobs if job.number == number and job.alive]
        if existing:
            job = existing[-1]
            mine = (number, commit, request, False, by_annotation, attempt)
            take = _settled_from(job) if "settle_from_job" in self.rules or job.commit != commit else mine
            yield f"{lane} exists {number}", become("settle", me.seen, take, wake=me.wake)
        elif len(state.jobs) < self.most_jobs:
            made = Job(number, commit, request, alive=True, run_request=by_annotation, attempt=attempt)
            jobs, data = (*state.jobs, made), (number, commit, request, False, by_annotation, attempt)
            yield f"{lane} post {number}={commit}", become("settle", me.seen, data, wake=me.wake, jobs=jobs)
            if "lost" in self.events and not unknown:
                yield (
                    f"{lane} post lost {number}",
                    become("post", me.seen, (entry, commit, True, request, failed), wake=me.wake, jobs=jobs),
                )

    def violation(self, state: State) -> str | None:
        """What is wrong with `state`: a run twice, a step back, or (when nobody will look again) a run lost."""
        live = state.entries[-1]
        head = self.heads[state.head]
        if live.commit == FORGED:
            return f"a forged run {live.runs} was recorded"
        made = tuple(job for job in state.jobs if job.commit != FORGED)
        numbers = [job.number for job in made]
        wiping = bool({"wipe", "edit"} & self.events)
        if not wiping and len(set(numbers)) < len(numbers):
            return f"run number {numbers[-1]} ran twice"
        if self.on_change:
            if wiping and len(made) > state.head + 1 + state.wiped:
                return f"{len(made)} jobs for {state.head + 1} heads and a wipe"
            place, retries = -1, 0
            for index, job in enumerate(() if wiping else made):
                before = made[index - 1] if index else None
                by_annotation = job.run_request > (before.run_request if before else 0)
                if job.attempt:
                    if not before or before.commit != job.commit:
                        return f"job {index + 1} goes back to {job.commit}, as a retry"
                    retries += 1
                    if not before.failed or retries > self.retries:
                        return f"job {index + 1} is one retry too many"
                    continue
                retries = 0
                if before and before.commit == job.commit and not by_annotation:
                    return f"job {index + 1} repeats {job.commit}"
                place = self.heads.find(job.commit, max(place, 0) if by_annotation else place + 1)
                if place < 0 or place > state.head:
                    return f"job {index + 1} goes back to {job.commit}"
        elif len([job for job in made if not job.attempt]) > state.delivered + live.runs_requested:
            return f"{len(made)} jobs for {state.delivered} requests and {live.runs_requested} by annotation"
        idle = all(r.at == "idle" and not r.wake for r in state.replicas)
        quiet = idle and (state.delivered > state.head or (self.polls and state.due == state.head))
        due = live.requested > live.handled or live.runs_requested > live.runs_handled or not state.opened
        if not quiet or due or self.unsettled(state.jobs, live) or any(self.is_retried(j, live) for j in state.jobs):
            return None
        if made and made[-1].failed and made[-1].attempt < self.retries:
            return f"lost: the retry of run {made[-1].number}"
        if (
            live.runs_requested
            and not wiping
            and (not made or max(job.run_request for job in made) < live.runs_requested)
        ):
            return f"lost: the run requested by annotation, number {live.runs_requested}"
        if self.on_change:
            if wiping and live.commit is None:
                return None
            ran = made[-1].commit if made else state.recorded
            if head == GONE:
                return None if ran in {None, GONE} and live.commit is None else f"lost: the deletion, after {ran}"
            if not all(commit == head or self.same_files(commit, head) for commit in (ran, live.commit)):
                return f"lost: recorded {live.commit}, ran {ran}, head {head}"
        elif not made or max(job.request for job in made) < state.delivered:
            return f"lost: request {state.delivered} never ran"
        return None

    def explore(self, *, limit: int = 3_000_000) -> Result:
        """Walk every state, breadth first; the shortest trace to a violation, or none.

        Raises:
            RuntimeError: `limit` states did not exhaust the model.
        """
        lanes = (Replica("idle", 0, None, wake=False),) * self.replicas
        first = State(
            0, 0, (Entry(0, None, 0, 0, absent=self.shared),), (), lanes, 0, 0, opened="waits" not in self.events
        )
        came: dict[State, tuple[State, str] | None] = {first: None}
        queue = deque([first])
        while queue:
            state = queue.popleft()
            bad = self.violation(state)
            if bad:
                return Result(states=len(came), violation=bad, trace=trace(came, state))
            if len(came) > limit:
                raise RuntimeError(f"more than {limit} states")
            for name, following in self.steps(state):
                known = forget_unseen(following)
                if known not in came:
                    came[known] = (state, name)
                    queue.append(known)
        return Result(states=len(came), violation=None)


def _read(replica: Replica) -> Entry | None:
    """The entry that the check under way has read, however old it was."""
    found = replica.data[0] if replica.data else None
    return found._replace(reserved=False, absent=False) if isinstance(found, Entry) else None


def _settled_from(job: Job) -> tuple[object, ...]:
    """What settling takes from a Job that another check created."""
    return (job.number, job.commit, job.request, True, job.run_request, job.attempt)
