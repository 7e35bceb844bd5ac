"""Many branches created, moved and deleted at random, by polls and deliveries, through crashes and server faults.

`REFERENCE_CHURN=1000,200,600` walks 1,000 branches, 200 of them moving, for 600 s of the virtual clock.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter

from git_events_runner.errors import GitCutOff, GitUnreachable
from git_events_runner.flow.webhooks.recorder import DeliveryRecorder
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.reference_entries import kept_keys, watched_by
from tests.flow.program import annotation
from tests.flow.test_references import Many
from tests.flow.virtual import virtual
from tests.flow.world import A

BRANCHES, MOVING, SECONDS = map(int, os.environ.get("REFERENCE_CHURN", "60,20,240").split(","))
STAYS_S = 60  # longer than a fault, and the 15 s between two lists, together


class Churn(Many):
    """A trigger over many branches, and what happened to each: (branch, head) that stayed, and deletions."""

    def __init__(self, seed):
        watch = {"references": {"branches": {}, "limit": 1000}, "onDelete": {"name": "teardown"}}
        hook = {"webhook": {"multiSource": True}, "schedule": {"interval": "2s"}}
        refs = {f"heads/b{number}": A for number in range(BRANCHES)}
        super().__init__({}, watch=watch, spec=hook, kind="WebhookTrigger")
        self.chance = random.Random(seed)
        self.git.refs = refs
        self.heads = 0
        self.expected = Counter()
        self.queue = asyncio.Queue()
        self.recorder = DeliveryRecorder(
            store=self.cluster.store, writer=self.cluster, submit=self.queue.put_nowait, now=self.cluster.now
        )
        self.tasks = 0

    def change(self, name):
        """Create, move or delete a branch, which then stays as it is for a while."""
        known = self.git.refs.get(name)
        if known is not None and self.chance.random() < 0.4:
            del self.git.refs[name]
            self.expected[name, known, "deleted"] += 1
            return None
        self.heads += 1
        commit = f"{self.heads:040x}"
        self.git.refs[name] = commit
        self.expected[name, commit, "first" if known is None else "changed"] += 1
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
                self.git.hidden = set(names if fault == "nothing" else self.chance.sample(names, len(names) // 2))
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
        """Change branches until the time is over; each stays for a minute at least."""
        loop = asyncio.get_running_loop()
        until, free = loop.time() + SECONDS, {f"heads/b{number}": 0.0 for number in range(MOVING)}
        while loop.time() < until:
            await asyncio.sleep(self.chance.uniform(0, 2 * STAYS_S / MOVING))
            ready = [name for name, at in free.items() if at <= loop.time()]
            if ready:
                name = self.chance.choice(ready)
                free[name] = loop.time() + STAYS_S
                await self.deliver(name, self.change(name))


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
    last = asyncio.ensure_future(made.replica())
    await asyncio.sleep(90)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    found = [annotation(job, "run").split("/", 1)[1].rsplit("/", 1) for job in made.jobs()]
    ran = Counter(
        (key.partition("@")[2], annotation(job, "commit"), annotation(job, "reason").removeprefix("fire-"))
        for (key, _), job in zip(found, made.jobs(), strict=True)
    )
    assert ran == made.expected
    assert len({(key, number) for key, number in found}) == len(found) > SECONDS * MOVING // (4 * STAYS_S)
    await asyncio.sleep(200)
    spec = made.cluster.objects[made.ref]["spec"]
    kept = kept_keys(made.status, ["app"], watched_by(spec), made.cluster.now())
    assert kept == {"app", *(f"app@{name}" for name in made.git.refs)}
