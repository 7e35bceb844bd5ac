"""Pushes to triggers of one group while replicas are killed and deposed: the last head always runs, soon.

Each process has a store of its own that is behind, requests get lost, and arrive after their sender has died.
`GIT_EVENTS_RUNNER_STORIES=2000 pytest tests/flow/test_groups_and_leaders.py` plays as many stories of each policy.
"""

import asyncio
import contextlib
import os
import random
from collections import deque

import pytest

from git_events_runner.errors import ApiError, ApiUnavailable
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.mutations import Count, Outcome, rfc3339
from git_events_runner.serving import running
from tests.flow.program import Git
from tests.flow.replica import Replica
from tests.flow.test_queue import queue_of
from tests.flow.test_results import results_of
from tests.flow.virtual import at, until, virtual
from tests.flow.world import Cluster, Fence

_STORIES = int(os.environ.get("GIT_EVENTS_RUNNER_STORIES", "12"))
_RUN_S, _GRACE_S, _LEASE_S, _ARRIVES_S = 3.0, 1.0, 6.0, 5.0
_SOON_S = 150.0  # a slot whose request was lost stays taken for a minute, and that may happen twice
_RUN, _COMMIT = "git-events-runner.rs/run", "git-events-runner.rs/commit"


class Shared(Cluster):
    """The API server's objects; each process follows them in its own time."""

    def __init__(self):
        super().__init__()
        self.views = []

    def _put(self, obj):
        stored = super()._put(obj)
        for view in self.views:
            view.note(stored, deleted=False)
        return stored

    def drop(self, ref, **last):
        held = self.objects[ref]
        super().drop(ref, **last)
        deleted = {**held, **last, "metadata": {**held["metadata"], "resourceVersion": str(self.version)}}
        for view in self.views:
            view.note(deleted, deleted=True)


class View(Cluster):
    """What one process has of them, and its requests; `calm` ends the faults."""

    def __init__(self, shared, dice):
        super().__init__()
        self.objects, self._shared, self._dice = shared.objects, shared, dice
        self.calm = False
        self._events, self._wake = deque(), asyncio.Event()
        for kind, writer in self._writers.items():
            writer.replace([obj for ref, obj in self.objects.items() if ref.kind == kind], version=str(shared.version))
        shared.views.append(self)

    def _put(self, obj):
        return self._shared._put(obj)

    def drop(self, ref, **last):
        self._shared.drop(ref, **last)

    def note(self, obj, *, deleted):
        """The watch will show it."""
        self._events.append((obj, deleted))
        self._wake.set()

    async def follow(self):
        """What has happened is seen a little later, in order."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._dice.choice((0.0, 0.002, 0.05, 0.4, 0.0 if self.calm else 3.0)))
            while self._events:
                obj, deleted = self._events.popleft()
                writer = self._writers[obj["kind"]]
                (writer.remove if deleted else writer.apply)(obj)

    async def _call(self, verb, ref, body, options, act):
        dice = self._dice
        try:
            await asyncio.sleep(dice.choice((0.001, 0.01, 0.1)))
        except asyncio.CancelledError:
            if dice.random() < 0.5:
                self._arrive_later(act)
            raise
        luck = 1.0 if self.calm else dice.random()
        if luck < 0.02:
            self._arrive_later(act)
        if luck < 0.04:
            raise ApiUnavailable("lost request")
        found = act()
        if luck < 0.06:
            raise ApiUnavailable("lost response")
        return found

    def _arrive_later(self, act):
        def arrive():
            with contextlib.suppress(ApiError):
                act()

        asyncio.get_running_loop().call_later(self._dice.uniform(0, _ARRIVES_S - 0.5), arrive)

    async def write(self, ref, uid, *mutations):
        if not self.calm and self._dice.random() < 0.04:
            raise ApiUnavailable("lost")
        return await super().write(ref, uid, *mutations)

    async def flush(self):
        """As the status writer does: what is not written is known to its check some seconds later."""
        deferred, self.deferred = self.deferred, []
        for ref, uid, mutation, unwritten in deferred:
            try:
                stale = Outcome.STALE in await self.write(ref, uid, mutation)
            except ApiError:
                asyncio.get_running_loop().call_later(15, unwritten)
            else:
                if stale:
                    unwritten()


class Process:
    """One replica: what every replica does, and what the leader does."""

    def __init__(self, shared, dice, git, *, limit):
        self.view = View(shared, dice)
        self.queue = queue_of(self.view, limit=limit)
        self.replica = Replica(self.view, slots=self.queue)
        self.replica.git = git
        self.replica.write_with(self.view, self.replica.lanes.submit)
        self.view.submit = self.replica.lanes.submit
        self._tasks = [asyncio.ensure_future(self._live())]
        self.fence = None

    async def _live(self):
        view, replica = self.view, self.replica
        requests = OpenRequests(store=view.store, submit=replica.lanes.submit, pending=replica.waiting, now=view.now)
        async with running(feed=view.follow()), replica.at_work():
            await requests.resume()
            await asyncio.Event().wait()

    def lead(self):
        """It has the lease."""
        self.fence = Fence()
        parts = [self.queue, results_of(self.view, self.view.deletions.phase_of)]
        parts += self.replica.leader_parts().values()
        self.replica.waits.begin()
        self._tasks += [asyncio.ensure_future(part.run_as_leader(self.fence)) for part in parts]

    async def end(self, *, dies=True):
        """It is killed, or only loses its lease."""
        if self.fence is not None:
            self.fence.lost = True
            self.fence = None
        ended = self._tasks[0 if dies else 1 :]
        del self._tasks[0 if dies else 1 :]
        for task in ended:
            task.cancel()
        for error in await asyncio.gather(*ended, return_exceptions=True):
            assert isinstance(error, asyncio.CancelledError), error
        if dies:
            self.view._shared.views.remove(self.view)

    def failed(self):
        """The exception of a part that has ended by itself."""
        return next((task.exception() for task in self._tasks if task.done()), None)


class Kubelet:
    """Plays Job controller and kubelet; `started` and `ended` have trigger, number and commit of the runs."""

    def __init__(self, shared):
        self._shared, self.alive, self.started, self.ended, self.most = shared, {}, [], [], 0

    async def run(self):
        """Look at the Jobs ten times a second."""
        while True:
            jobs = {obj["metadata"]["uid"]: obj for ref, obj in self._shared.objects.items() if ref.kind == "Job"}
            assert self.alive.keys() <= jobs.keys(), "a Job was deleted whose pod is alive"
            for uid, job in jobs.items():
                self._step(uid, job)
            await asyncio.sleep(0.1)

    def _step(self, uid, job):
        ref, pod, now = self._shared.ref(job), self.alive.get(uid), at()
        deleted = job["metadata"].get("deletionTimestamp")
        if pod is None:
            if deleted:
                self._shared.drop(ref)
            elif not job["spec"]["suspend"] and not (job.get("status") or {}).get("conditions"):
                self.alive[uid] = {"since": now, "stopped": None}
                self.most = max(self.most, len(self.alive))
                self.started.append(_run_of(job))
                status = {"startTime": self._shared.now().isoformat(), "active": 1, "ready": 1}
                self._shared.change(ref, status=status)
        elif deleted:
            pod["stopped"] = pod["stopped"] or now
            if now - pod["stopped"] >= _GRACE_S:
                del self.alive[uid]
                self._shared.drop(ref)
        elif now - pod["since"] >= _RUN_S:
            del self.alive[uid]
            self.ended.append(_run_of(job))
            when = self._shared.now().isoformat()
            complete = {"type": "Complete", "status": "True", "lastTransitionTime": when}
            self._shared.change(ref, status={"active": 0, "ready": 0, "completionTime": when, "conditions": [complete]})


def _run_of(job):
    notes = job["metadata"]["annotations"]
    uid, _, number = notes[_RUN].split("/")
    return uid, int(number), notes[_COMMIT]


class Slow(Git):
    """A git server that takes its time."""

    def __init__(self, dice):
        super().__init__()
        self._dice = dice

    async def commit_of(self, *arguments, **options):
        answer = await super().commit_of(*arguments, **options)
        await asyncio.sleep(self._dice.choice((0.0, 0.2, 1.0)))
        return answer


class Story:
    """Triggers of one group, two replicas, and what happens to them."""

    def __init__(self, seed, policy):
        self.dice, self.policy, self.shared = random.Random(f"{policy}-{seed}"), policy, Shared()
        self.shared.surroundings()
        count = self.dice.choice((1, 3))
        concurrency = {"policy": policy} | ({"group": "state"} if count > 1 else {})
        for number in range(count):
            self.shared.trigger(name=f"hook{number}", concurrency=concurrency)
        self.refs = [Ref("WebhookTrigger", "n", f"hook{number}") for number in range(count)]
        self.git, self.kubelet = Slow(self.dice), Kubelet(self.shared)
        self.limit = self.dice.choice((1, 2, 16))
        self.processes, self.leader, self.elected_at = [], None, 0.0
        self.pushes, self.calm, self.head = 0, False, None

    async def play(self):
        """Pushes in a storm; then one more, and nothing else happens."""
        self.processes = [self._process(), self._process()]
        async with running(kubelet=self.kubelet.run(), election=self._elect()):
            async with running(storm=self._storm()):
                for _ in range(self.dice.randint(3, 9)):
                    await self._push()
                    await asyncio.sleep(self.dice.uniform(0, 5))
                self.calm = True
            while len(self.processes) < 2:
                self.processes.append(self._process())
            for process in self.processes:
                process.view.calm = True
            await self._push()
            pushed_at, wanted = at(), {(self.shared.objects[ref]["metadata"]["uid"], self.head) for ref in self.refs}
            await until(lambda: wanted <= {(uid, commit) for uid, _, commit in self.kubelet.ended}, within_s=_SOON_S)
            lasted_s = at() - pushed_at
            await asyncio.sleep(5 * _RUN_S)
            await self._end()
        return lasted_s

    async def _end(self):
        for process in self.processes:
            assert process.failed() is None
            await process.end()

    def _process(self):
        return Process(self.shared, self.dice, self.git, limit=self.limit)

    async def _elect(self):
        while True:
            if self.leader is None and self.processes and at() >= self.elected_at:
                self.leader = self.dice.choice(self.processes)
                self.leader.lead()
            await asyncio.sleep(0.2)

    async def _storm(self):
        """A process is killed and started again, or the leader loses its lease."""
        while True:
            await asyncio.sleep(self.dice.uniform(0.5, 9))
            if self.calm:
                await asyncio.Event().wait()
            chosen = self.dice.choice(self.processes)
            dies = chosen is not self.leader or self.dice.random() < 0.7
            if chosen is self.leader:
                self.leader, self.elected_at = None, at() + self.dice.uniform(_LEASE_S, 2 * _LEASE_S)
            if dies:
                self.processes.remove(chosen)
            await chosen.end(dies=dies)
            if dies:
                await asyncio.sleep(self.dice.uniform(0, 3))
                self.processes.append(self._process())

    async def _push(self):
        """The head moves; each trigger gets a delivery, whose process may die before it checks."""
        self.pushes += 1
        self.head = self.git.head = f"{self.pushes:040x}"
        for number, ref in enumerate(self.refs):
            await until(lambda: self.processes)
            process, name = self.dice.choice(self.processes), f"d{self.pushes}-{number}"
            announced = self.dice.choice((None, self.head))
            if self.dice.random() < 0.2:
                count = {"app": announced}
                uid = self.shared.objects[ref]["metadata"]["uid"]
                counted = Count(requests=count, delivery=delivery_hash(name), at=rfc3339(self.shared.now()))
                await self.shared.write(ref, uid, counted)
                continue
            while True:
                try:
                    await process.replica.deliver(name, announced, ref=ref)
                    break
                except ApiUnavailable:
                    await asyncio.sleep(0.5)

    def check(self):
        """Never two pods at the same time, in the order of the runs, and with Queue all of them."""
        assert self.kubelet.most == 1
        jobs = [_run_of(obj) for ref, obj in self.shared.objects.items() if ref.kind == "Job"]
        for ref in self.refs:
            uid = self.shared.objects[ref]["metadata"]["uid"]
            started = [number for one, number, _ in self.kubelet.started if one == uid]
            assert started == sorted(set(started))
            if self.policy == "Queue":
                assert started == sorted(number for one, number, _ in jobs if one == uid)


@pytest.mark.parametrize("policy", ["Queue", "QueueLatest", "Replace"])
def test_the_last_head_runs_whatever_happens_to_leaders(policy):
    """Of each random story, within two minutes and a half of the last push, of which a minute may be a lost request."""
    longest = (0.0, None)
    for seed in range(_STORIES):

        @virtual
        async def story(seed=seed):
            nonlocal longest
            played = Story(seed, policy)
            longest = max(longest, (await played.play(), seed))
            played.check()

        try:
            story()
        except BaseException as error:
            error.add_note(f"story {seed} of {policy}")
            raise
    lasted_s, seed = longest
    print(f"{policy}: {_STORIES} stories, the last head ended at most {lasted_s:.0f} s after its push (story {seed})")
