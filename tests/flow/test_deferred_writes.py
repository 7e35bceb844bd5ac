"""Writes that may come late: with the next one, within a second, or told when they cannot be."""

import asyncio
import itertools

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiConflict, ApiForbidden, ApiUnavailable
from git_events_runner.flow.checks.keyed_workers import KeyedWorkers
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Count, Outcome, Skip
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.serving import running
from git_events_runner.telemetry.metrics import Metrics
from tests.flow.hooks import trigger
from tests.flow.program import REF as HOOK
from tests.flow.program import program
from tests.flow.virtual import at, until, virtual
from tests.flow.world import A, Cluster, recorded, status_writer

REF = Ref("WebhookTrigger", "ns", "t")
ENTRY = {"commitHash": "a" * 40, "fileHash": None, "changed": None, "runs": 1, "requested": 2, "handled": 1}


class Api:
    """One object; JSON Patches of its status are applied without their tests."""

    def __init__(self):
        self.object = trigger("t") | {"status": {"checkedSources": {"app": dict(ENTRY)}, "deliveries": ""}}
        self.writes, self.failure = 0, None

    async def get(self, ref):
        return self.object

    async def patch(self, ref, body, **_):
        if self.failure:
            raise self.failure
        self.writes += 1
        for step in body:
            if step["op"] == "add":
                *path, name = step["path"].split("/")[1:]
                place = self.object
                for part in path:
                    place = place[part]
                place[name] = step["value"]
        self.object["metadata"]["resourceVersion"] = str(self.writes + 1)
        return self.object

    async def replace(self, kind, obj, **_):
        if obj["metadata"]["resourceVersion"] != self.object["metadata"]["resourceVersion"]:
            raise ApiConflict("changed")
        return await self.patch(REF, [{"op": "add", "path": "/status", "value": obj["status"]}])


@pytest.fixture
async def world():
    api, store = Api(), Store()
    store.observe(api.object)
    writer = status_writer(api, store, Metrics(prefix="t"))
    async with running(writer=writer.run()):
        yield api, writer


def skip(runs=1, handled=2):
    return Skip(source="app", expected=(runs, "a" * 40), handled=handled, commit="a" * 40, file_hash=None)


async def test_a_deferred_write_rides_on_the_next_one(world):
    """One request writes both."""
    api, writer = world
    writer.defer(REF, "u-t", skip(), unwritten=lambda: None)
    await writer.write(
        REF, "u-t", Count(requests={"app": None}, delivery=delivery_hash("d"), at="2026-05-06T07:08:09Z")
    )
    found = entry_of(api.object["status"], "app")
    assert (api.writes, found.requested, found.handled) == (1, 3, 2)


async def test_a_deferred_write_comes_within_a_second_or_when_flushed(world):
    """Nobody has to write after it; a clean stop does not wait for the second."""
    api, writer = world
    writer.defer(REF, "u-t", skip(), unwritten=lambda: None)
    await writer.flush()
    assert (api.writes, entry_of(api.object["status"], "app").handled) == (1, 2)
    api.object["status"]["checkedSources"]["app"]["requested"] = 3
    writer.defer(REF, "u-t", skip(handled=3), unwritten=lambda: None)
    async with asyncio.timeout(5):
        while api.writes < 2:  # noqa: ASYNC110  the time is what is tested
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("triggers", "latest_s"), [(3, 1.2), (6, 5.2)])
@virtual
async def test_a_deferred_write_waits_for_company_while_many_triggers_are_written(triggers, latest_s):
    """A busy API server is spared writes for what can ride along; five seconds are the longest."""
    cluster = Cluster()
    cluster.latency_s = 0.05
    uids = {f"busy{n}": cluster.trigger(name=f"busy{n}", status=recorded())["metadata"]["uid"] for n in range(triggers)}
    uid = cluster.trigger(status=recorded(requested=2, handled=1))["metadata"]["uid"]
    writer = status_writer(cluster, cluster.store, cluster.metrics)

    async def keep_busy(name):
        for turn in itertools.count():
            count = Count(requests={"app": None}, delivery=delivery_hash(f"{turn}"), at="2026-05-06T07:08:09Z")
            await writer.write(Ref("WebhookTrigger", "n", name), uids[name], count)

    async with running(writer=writer.run(), **{name: keep_busy(name) for name in uids}):
        await asyncio.sleep(0.5)
        began = at()
        expected = (1, cluster.objects[HOOK]["status"]["checkedSources"]["app"]["commitHash"])
        late = Skip(source="app", expected=expected, handled=2, commit=expected[1], file_hash=None)
        writer.defer(HOOK, uid, late, unwritten=lambda: None)
        await until(lambda: entry_of(cluster.objects[HOOK]["status"], "app").handled == 2)
        assert latest_s - 0.2 <= at() - began <= latest_s


@pytest.mark.parametrize("failure", [None, ApiForbidden("no")])
async def test_who_deferred_is_told_when_it_cannot_be_written(world, failure, monkeypatch):
    """Stale, or refused: somebody has to look again."""
    api, writer = world
    monkeypatch.setattr("git_events_runner.flow.status_writer._REFUSED_S", 0.1)
    api.failure = failure
    told = asyncio.Event()
    writer.defer(REF, "u-t", skip(runs=1 if failure else 7), unwritten=told.set)
    await writer.flush()
    async with asyncio.timeout(5):
        await told.wait()
    assert api.writes == 0


async def test_a_write_whose_answer_was_lost_is_this_callers_own(world):
    """It is found done when it is judged again, and still counts as written: the sender gets its 202."""
    api, writer = world
    taken = api.replace

    async def lost(kind, obj, **more):
        api.replace = taken
        await taken(kind, obj, **more)
        raise ApiUnavailable("reset")

    api.replace = lost
    count = Count(requests={"app": None}, delivery=delivery_hash("d"), at="2026-05-06T07:08:09Z")
    assert await writer.write(REF, "u-t", count) == [Outcome.WRITE]
    assert await writer.write(REF, "u-t", count) == [Outcome.DONE]
    assert (api.writes, entry_of(api.object["status"], "app").requested) == (1, 3)


@virtual
async def test_writes_that_are_refused_do_not_make_a_loop_of_looks():
    """Rights that were taken away: git is asked a few times a minute, not every second."""
    made = program(requested=1, runs=1, commit=A)
    cluster = made.cluster
    await made.check()
    cluster.change(
        HOOK, status=recorded(runs=1, commit=A, requested=2, handled=1) | {"lastRun": "2026-05-06T07:00:00Z"}
    )
    writer = status_writer(cluster, cluster.store, cluster.metrics)

    async def refused(*_, **__):
        await asyncio.sleep(0.001)
        raise ApiForbidden("no")

    cluster.patch = cluster.replace = refused
    lanes = KeyedWorkers(
        check=lambda request: made.checks.check(request),  # noqa: PLW0108  replaced below
        schedule_parallelism=1,
        webhook_parallelism=1,
        longest_backoff_s=60.0,
        weight=equal,
    )
    made.write_with(writer, lanes.submit)
    uid = cluster.objects[HOOK]["metadata"]["uid"]
    async with running(writer=writer.run(), lanes=lanes.run()):
        lanes.submit(CheckRequest(trigger=HOOK, uid=uid, source="app", due_at=None, fence=None))
        await asyncio.sleep(300)
    assert 3 <= made.git.asked <= 25
