"""Many branches created, moved and deleted at random, by polls and deliveries, through crashes and server faults.

`REFERENCE_CHURN=1000,200,600,800` walks 1,000 branches, of which 200 change 800 times in 600 s of the virtual clock.
"""

import asyncio
import contextlib
import os
import random

from git_events_runner.errors import GitCutOff, GitUnreachable
from git_events_runner.flow.webhooks.recorder import DeliveryRecorder
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.reference_entries import kept_keys, watched_by
from tests.flow.churn import History
from tests.flow.program import annotation
from tests.flow.test_references import Many
from tests.flow.virtual import virtual
from tests.flow.world import A

BRANCHES, MOVING, SECONDS, CHANGES = map(int, os.environ.get("REFERENCE_CHURN", "60,20,240,140").split(","))
STAYS_S = 20  # longer than a fault, and the time until the next poll
DELETION_S = 50  # and longer than the 15 s between two lists, which two faults may interrupt


class Churn(Many):
    """A trigger over many branches, and what happened to each."""

    def __init__(self, seed):
        watch = {"references": {"branches": {}, "limit": 1000}, "onDelete": {"name": "teardown"}}
        hook = {"webhook": {"multiSource": True}, "schedule": {"interval": "2s"}}
        refs = {f"heads/b{number}": A for number in range(BRANCHES)}
        super().__init__({}, watch=watch, spec=hook, kind="WebhookTrigger")
        self.chance = random.Random(seed)
        self.git.refs = refs
        self.heads = 0
        self.history = History(refs)
        self.queue = asyncio.Queue()
        self.recorder = DeliveryRecorder(
            store=self.cluster.store, writer=self.cluster, submit=self.queue.put_nowait, now=self.cluster.now
        )
        self.tasks = 0

    def change(self, name):
        """Create, move or delete a branch; its head, None if it is deleted."""
        commit, at = None, asyncio.get_running_loop().time()
        if name in self.git.refs and self.chance.random() < 0.4:
            del self.git.refs[name]
        else:
            self.heads += 1
            commit = self.git.refs[name] = f"{self.heads:040x}"
        self.history.change(name, commit, at)
        return commit

    async def deliver(self, name, commit):
        """What the forge sends; one of three is lost."""
        if self.chance.random() < 0.33:
            return
        self.tasks += 1
        uid = self.cluster.objects[self.ref]["metadata"]["uid"]
        key = f"app@{name}"
        await self.recorder.count(self.ref, uid, {key: commit}, task=f"t{self.tasks}", warning=None, pulls={})

    async def replica(self):
        """Checks what is submitted and what is scheduled, until it is killed."""
        while True:
            source = "app"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    source = (await self.queue.get()).source
            due = None if source != "app" else rfc3339(self.cluster.now())
            await self.check(ref=self.ref, source=source, due=due)

    async def faults(self):
        """The server errs, cuts its answers off, shows nothing, or hides branches, each for less than 15 s."""
        while True:
            await asyncio.sleep(self.chance.uniform(10, 30))
            fault = self.chance.choice(["error", "cut", "nothing", "hide"])
            if fault in {"error", "cut"}:
                self.git.error = GitCutOff("cut off") if fault == "cut" else GitUnreachable("no answer")
            else:
                names = sorted(self.git.refs)
                self.git.hidden = set(
                    names if fault == "nothing" else self.chance.sample(names, min(len(names) // 2, 40))
                )
            await asyncio.sleep(self.chance.uniform(1, 12))
            self.git.error, self.git.hidden = None, set()

    async def killed(self):
        """A replica that is killed at any moment and started again, without what it held in memory."""
        while True:
            task = asyncio.ensure_future(self.replica())
            try:
                await asyncio.sleep(self.chance.uniform(3, 15))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def churn(self):
        """Change branches until the time is over; each stays for a moment, for a while, or for long."""
        loop = asyncio.get_running_loop()
        until, free = loop.time() + SECONDS, {f"heads/b{number}": 0.0 for number in range(MOVING)}
        while loop.time() < until:
            await asyncio.sleep(self.chance.uniform(0, 2 * SECONDS / CHANGES))
            ready = [name for name, at in free.items() if at <= loop.time()]
            if ready:
                name = self.chance.choice(ready)
                free[name] = loop.time() + self.chance.choice(
                    [self.chance.uniform(0, STAYS_S), self.chance.uniform(STAYS_S, DELETION_S), DELETION_S]
                )
                await self.deliver(name, self.change(name))

    def recorded_runs(self):
        """Branch, number, commit, and whether it is that of a deletion, of each Job."""
        found = []
        for job in self.jobs():
            key, _, number = annotation(job, "run").split("/", 1)[1].rpartition("/")
            reason = annotation(job, "reason").removeprefix("fire-")
            found.append((key.partition("@")[2], int(number), annotation(job, "commit"), reason == "deleted"))
        return found


@virtual
async def test_each_head_that_stayed_runs_once_and_each_deletion_once():
    """Through kills at any moment, lost deliveries and every fault of a server: none is doubled, lost or made up."""
    made = Churn(seed=19)
    await made.polls()
    others = [asyncio.ensure_future(one) for one in (made.killed(), made.killed(), made.faults())]
    await made.churn()
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    made.git.error, made.git.hidden = None, set()
    last, loop = asyncio.ensure_future(made.replica()), asyncio.get_running_loop()
    await asyncio.sleep(90)
    runs, ended_at = made.recorded_runs(), loop.time()
    await asyncio.sleep(200)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    assert made.history.problems(runs, until=ended_at, stays_s=STAYS_S, deletion_s=DELETION_S) == []
    assert len(runs) > CHANGES // 3
    assert made.recorded_runs() == runs
    spec = made.cluster.objects[made.ref]["spec"]
    kept = kept_keys(made.status, ["app"], watched_by(spec), made.cluster.now())
    assert kept == {"app", *(f"app@{name}" for name in made.git.refs)}
