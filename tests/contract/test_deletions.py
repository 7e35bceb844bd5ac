"""What an API server holds when a process ends right after one of its deletions."""

import asyncio
from datetime import UTC, datetime

import pytest

from git_events_runner.edges.kube.event_recorder import Events
from git_events_runner.edges.kube.snapshot import snapshot_of
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiNotFound
from git_events_runner.resources.job import RunKey, job_name
from git_events_runner.resources.kinds import KINDS
from git_events_runner.rules.identity import owner_of
from git_events_runner.telemetry.metrics import Metrics
from git_events_runner.wiring.deletions import Deletions
from tests.flow.world import NoMessages, status_writer

from .conftest import World
from .examples import ENTRY, JOB, TRIGGER


class Stopped:
    """A client whose process ends when a deletion was done, or while nothing holds: no line after it runs."""

    def __init__(self, client):
        self._client, self.deleted = client, asyncio.Event()

    async def delete(self, ref, **options):
        await self._client.delete(ref, **options)
        self.deleted.set()
        await asyncio.Event().wait()


class Fence:
    def check(self):
        pass


async def deleting(world: World, act):
    """Run `act(deletions, store)` until its DELETE was answered, and no further."""
    now, store = (lambda: datetime.now(UTC)), Store()
    writer = status_writer(world.client, store, Metrics(prefix="x"), gather_s=0.0)
    events = Events(api=world.client, identity="x", now=now, failed=lambda _: None, weight=lambda _: 1)
    api = Stopped(world.client)
    deletions = Deletions(api=api, writer=writer, events=events, messages=NoMessages(), request_timeout_s=5.0, now=now)
    tasks = [asyncio.ensure_future(writer.run()), asyncio.ensure_future(act(deletions, store))]
    try:
        async with asyncio.timeout(20):
            await api.deleted.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def waiting_job(world: World, trigger):
    """A suspended Job of the trigger's run 1, recorded in its status."""
    run = RunKey(trigger_uid=trigger["metadata"]["uid"], source="app", number=1)
    name = job_name("x", run)
    labels = {"git-events-runner.rs/trigger-kind": "ScheduleTrigger", "git-events-runner.rs/trigger-name": "x"}
    annotations = {"git-events-runner.rs/run": str(run), "git-events-runner.rs/commit": ENTRY["commitHash"]}
    job = await world.create(
        {
            **JOB,
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": JOB["spec"] | {"suspend": True},
        }
    )
    status = {"checkedSources": {"app": ENTRY | {"runs": 1, "lastJob": {"name": name, "phase": "Queued"}}}}
    ref = world.ref("ScheduleTrigger", "x")
    return await world.client.patch(ref, {"status": status}, subresource="status"), job | {"kind": "Job"}


async def test_a_run_that_waited_too_long_has_its_reason_when_nothing_follows_the_deletion(world: World):
    """Phase and condition are in the trigger's status already."""
    trigger, job = await waiting_job(world, await world.create(TRIGGER))

    async def act(deletions, store):
        store.observe(trigger | {"kind": "ScheduleTrigger"})
        store.observe(job)
        found = store.get(world.ref("Job", job["metadata"]["name"]))
        await deletions.expire(found, owner_of(found, store), "waited 9 s", Fence())

    await deleting(world, act)
    with pytest.raises(ApiNotFound):
        await world.client.get(world.ref("Job", job["metadata"]["name"]))
    status = (await world.client.get(world.ref("ScheduleTrigger", "x")))["status"]
    assert status["checkedSources"]["app"]["lastJob"]["phase"] == "Expired"
    [message] = [one["message"] for one in status["conditions"] if one["type"] == "Ready"]
    assert "waited 9 s" in message


async def test_a_job_whose_trigger_is_deleted_has_its_reason_when_nothing_follows_the_deletion(world: World):
    """An Event on the Job outlives it."""
    _, job = await waiting_job(world, await world.create(TRIGGER))
    await world.client.delete(world.ref("ScheduleTrigger", "x"))

    async def act(deletions, store):
        await deletions.delete_orphan(snapshot_of(job, "Job"), Fence())

    await deleting(world, act)
    events = [one async for one in world.client.list(KINDS["Event"], namespace=world.namespace)]
    told = [(one["regarding"]["uid"], one["reason"]) for one in events]
    assert told == [(job["metadata"]["uid"], "TriggerDeleted")]
