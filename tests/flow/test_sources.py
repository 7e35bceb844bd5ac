"""The sources of one trigger: queried concurrently, their Jobs created one after another."""

import asyncio
import itertools

from git_events_runner.errors import GitTimeout
from git_events_runner.flow.checks.turns import Turns
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.mutations import Count, rfc3339
from git_events_runner.rules.messages import CheckRequest
from tests.flow.program import REF, Answer
from tests.flow.replica import Replica
from tests.flow.virtual import at, until, virtual
from tests.flow.world import A, B, Cluster

DEAD = [f"dead{number}" for number in range(10)]


class Servers:
    """A git server for each source; those of dead sources answer nothing for half a minute."""

    def __init__(self):
        self.heads, self.asked, self.now, self.most = {}, [], 0, 0

    async def commit_of(self, source, namespace, ref_type, ref_name, *, urgent, unchanged=None):
        sent_at, name = at(), source.spec.repo_uri.rpartition("/")[2]
        self.asked.append((sent_at, name))
        self.now += 1
        self.most = max(self.most, self.now)
        head = self.heads.get(name, A)
        await asyncio.sleep(30.0 if name in DEAD else 0.05)
        self.now -= 1
        if name in DEAD:
            raise GitTimeout(f"{name} does not respond")
        return Answer(head, None, sent_at)


class Counting(Cluster):
    """How many Jobs are being created at the same time."""

    def __init__(self):
        super().__init__()
        self.creating, self.most = 0, 0

    async def create(self, kind, obj, **options):
        self.creating += 1
        self.most = max(self.most, self.creating)
        try:
            await asyncio.sleep(0.02)
            return await super().create(kind, obj, **options)
        finally:
            self.creating -= 1


def replica_of(cluster, names):
    cluster.surroundings()
    for name in names:
        place = {"name": name, "namespace": "n"}
        cluster.put({"kind": "GitRepo", "metadata": place, "spec": {"repoUri": f"https://x/{name}"}})
    replica = Replica(cluster)
    replica.git = servers = Servers()
    replica.write_with(cluster, replica.lanes.submit)
    return replica, servers


@virtual
async def test_ten_dead_sources_do_not_delay_the_healthy_one_of_their_trigger():
    """Each push to it runs within its interval, from the first minute on; the dead ones are reported, and tried."""
    cluster = Cluster()
    replica, servers = replica_of(cluster, [*DEAD, "app"])
    sources = {"names": [*DEAD, "app"]}
    cluster.trigger("ScheduleTrigger", "poll", schedule={"interval": "1m"}, sources=sources)
    async with replica.leading():
        await until(lambda: len(replica.jobs()) == 1, within_s=2)
        for turn in range(1, 10):
            servers.heads["app"] = B if turn % 2 else A
            await asyncio.sleep(61)
            assert len(replica.jobs()) == turn + 1
    times = [when for when, name in servers.asked if name == "app"]
    assert max(b - a for a, b in itertools.pairwise(times)) <= 60.5
    entries = cluster.objects[Ref("ScheduleTrigger", "n", "poll")]["status"]["checkedSources"]
    assert {entries[name]["problem"]["reason"] for name in DEAD} == {"Timeout"}


@virtual
async def test_sources_that_change_together_are_queried_concurrently_and_run_one_after_another():
    """One delivery for twelve sources: four requests at a time, one Job for each, never two being created."""
    names = [f"s{number}" for number in range(12)]
    cluster = Counting()
    replica, servers = replica_of(cluster, names)
    cluster.trigger(names=names)
    uid = cluster.objects[REF]["metadata"]["uid"]
    count = Count(requests=dict.fromkeys(names), delivery=delivery_hash("d"), at=rfc3339(cluster.now()))
    async with replica.at_work():
        await cluster.write(REF, uid, count)
        for name in names:
            replica.lanes.submit(CheckRequest(trigger=REF, uid=uid, source=name, due_at=None, fence=None, tasks=("d",)))
        await until(lambda: not replica.lanes.pending(uid))
    assert servers.most == 4
    assert cluster.most == 1
    assert len(replica.jobs()) == 12
    entries = cluster.objects[REF]["status"]["checkedSources"]
    assert {(entry["runs"], entry["handled"]) for entry in entries.values()} == {(1, 1)}


@virtual
async def test_turns_are_kept_for_each_trigger_and_forgotten_after_use():
    """In the order of arrival; another trigger does not wait."""
    turns, order = Turns(), []

    async def work(uid, name):
        async with turns.turn(uid):
            order.append((round(at(), 1), name))
            await asyncio.sleep(1.0)

    await asyncio.gather(work("a", "a1"), work("a", "a2"), work("b", "b1"))
    assert order == [(0.0, "a1"), (0.0, "b1"), (1.0, "a2")]
    assert not turns._locks
