"""One replica that leads, as far as checks are concerned: lanes, scheduler, waits and the sweep of open requests."""

import asyncio
from contextlib import asynccontextmanager

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.checks.keyed_workers import KeyedWorkers
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.flow.reconciler import Reconciler
from git_events_runner.flow.scheduler import Scheduler
from git_events_runner.flow.waits import Waits
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.mutations import Count, rfc3339
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.serving import running
from tests.flow.program import REF, Program
from tests.flow.world import Fence


class Replica(Program):
    """Its checks are done by lanes, and again at the times that it keeps."""

    def __init__(self, cluster, *, slots=None):
        super().__init__(cluster, slots=slots)
        self.lanes = KeyedWorkers(
            check=self._checked,
            schedule_parallelism=16,
            webhook_parallelism=16,
            longest_backoff_s=60.0,
            weight=equal,
        )
        self.waits = Waits(
            store=cluster.store, gate=cluster.gate, submit=self.lanes.submit, metrics=cluster.metrics, now=cluster.now
        )
        self.waiting, self.forget = self.waits.together_with(pending=self.lanes.pending, forget=self.lanes.forget)
        self.write_with(cluster, self.lanes.submit)
        self.results = []

    async def _checked(self, request):
        again = await self.checks.check(request)
        await self.cluster.flush()
        return again

    @asynccontextmanager
    async def at_work(self):
        """The parts of every replica."""
        async with running(lanes=self.lanes.run(), waits=self.waits.run()):
            yield self

    @asynccontextmanager
    async def leading(self):
        """Those of the leader, too."""
        fence = Fence()
        parts = self.leader_parts()
        self.waits.begin()
        async with self.at_work(), running(**{name: part.run_as_leader(fence) for name, part in parts.items()}):
            yield self

    def leader_parts(self):
        """The parts that a leader has for checks."""
        cluster = self.cluster
        shared = {"store": cluster.store, "now": cluster.now}
        requests = OpenRequests(**shared, submit=self.lanes.submit, pending=self.waiting)
        return {
            "scheduler": Scheduler(
                **shared,
                gate=cluster.gate,
                submit=self.lanes.submit,
                forget=self.forget,
                edited=lambda *_: None,
                weight=equal,
            ),
            "reconciler": Reconciler(
                **shared,
                api=cluster,
                gate=cluster.gate,
                writer=cluster,
                announcer=cluster,
                requests=requests,
                metrics=cluster.metrics,
                weight=equal,
            ),
        }

    async def deliver(self, name, commit=None, *, ref=REF):
        """A delivery is recorded, and its check is requested."""
        cluster = self.cluster
        uid = cluster.objects[ref]["metadata"]["uid"]
        count = Count(requests={"app": commit}, delivery=delivery_hash(name), at=rfc3339(cluster.now()))
        await cluster.write(ref, uid, count)
        self.lanes.submit(CheckRequest(trigger=ref, uid=uid, source="app", due_at=None, fence=None, tasks=(name,)))

    async def push(self, commit, *, ref=REF):
        """The reference moves, and the forge delivers it."""
        self.git.head = commit
        await self.deliver(f"{commit}-{asyncio.get_running_loop().time()}", commit, ref=ref)

    def started(self):
        """The Jobs, in the order of their numbers: commit, and when it was created."""
        order = lambda job: int(job["metadata"]["annotations"]["git-events-runner.rs/run"].rpartition("/")[2])  # noqa: E731
        return [
            (
                job["metadata"]["annotations"]["git-events-runner.rs/commit"][:1],
                job["metadata"]["creationTimestamp"][11:19],
            )
            for job in sorted(self.jobs(), key=order)
        ]

    def waits_for(self, ref=REF):
        """Reason and message of the condition Waiting."""
        found = self.cluster.objects[ref].get("status", {}).get("conditions") or ()
        return next(((c["reason"], c["message"]) for c in found if c["type"] == "Waiting"), None)
