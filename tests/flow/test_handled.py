"""Handled times: what checks without a change handled is recorded, coarsely, for each source."""

import asyncio
from datetime import timedelta

import pytest

from git_events_runner.flow.checks.handled import HandledTimes
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.messages import CheckRequest
from tests.flow.virtual import virtual
from tests.flow.world import START, Cluster, Fence, recorded

REF = Ref("ScheduleTrigger", "n", "every")
AGO = (START - timedelta(days=30)).isoformat()


class World:
    """A trigger with three sources whose times of a month ago are recorded."""

    def __init__(self, last_run=AGO):
        self.cluster, self.pending, self.fence = Cluster(), set(), Fence()
        status = recorded(answeredAt=AGO) | {"lastRun": last_run}
        entry = status["checkedSources"]["app"]
        status["checkedSources"] = {name: dict(entry) for name in ("app", "lib", "doc")}
        trigger = self.cluster.trigger("ScheduleTrigger", "every", names=("app", "lib", "doc"), status=status)
        self.uid = trigger["metadata"]["uid"]
        self.handled = HandledTimes(
            store=self.cluster.store,
            writer=self.cluster,
            pending=lambda uid, source: (uid, source) in self.pending,
            now=self.cluster.now,
        )

    async def check(self, source, due="2026-05-06T07:00:00Z"):
        """A check of a source that finds no change, and what is written with it."""
        request = CheckRequest(trigger=REF, uid=self.uid, source=source, due_at=due, fence=self.fence)
        mutations = self.handled.note(request, self.cluster.objects[REF]["status"])
        if mutations:
            await self.cluster.write(REF, self.uid, *mutations)

    @property
    def writes(self):
        return len(self.cluster.made("write"))

    def times(self):
        status = self.cluster.objects[REF]["status"]
        return {source: entry_of(status, source).answered_at for source in ("app", "lib", "doc")}


@virtual
async def test_each_source_has_its_own_time_recorded():
    """Three sources at one moment: one write at once, one ten minutes later with the times of the others."""
    world = World()
    for source in ("app", "lib", "doc"):
        await world.check(source)
        await asyncio.sleep(1)
    assert world.writes == 1
    assert world.times() == {"app": "2026-05-06T07:00:00Z", "lib": AGO, "doc": AGO}
    await asyncio.sleep(600)
    await world.cluster.flush()
    assert set(world.times().values()) == {"2026-05-06T07:00:00Z"}
    await asyncio.sleep(7200)
    await world.cluster.flush()
    assert world.writes == 2


@virtual
async def test_a_quiet_hour_costs_one_write_in_ten_minutes():
    """However many sources a trigger has, and however often they are checked."""
    world = World()
    for minute in range(60):
        for number, source in enumerate(("app", "lib", "doc")):
            await world.check(source, f"2026-05-06T07:{minute:02}:{number * 9:02}Z")
            await asyncio.sleep(20)
            await world.cluster.flush()
    assert 5 <= world.writes <= 7


@virtual
async def test_what_is_not_recorded_is_written_when_the_process_stops():
    """A clean stop one second after the checks leaves nothing to check again."""
    world = World()
    for source in ("app", "lib", "doc"):
        await world.check(source)
    world.handled.flush()
    await world.cluster.flush()
    assert set(world.times().values()) == {"2026-05-06T07:00:00Z"}


@virtual
async def test_an_edit_is_recorded_when_no_check_of_the_source_is_open():
    """A time of the old schedule whose check failed so far is not handled by the edit; `lastRun` does not move."""
    world = World(last_run="2026-05-06T06:59:00Z")
    world.pending.add((world.uid, "app"))
    for source in ("app", "lib"):
        world.handled.edited(REF, world.uid, source, world.cluster.now(), world.fence)
    await asyncio.sleep(2)
    await world.cluster.flush()
    assert world.times() == {"app": AGO, "lib": "2026-05-06T07:00:00Z", "doc": AGO}
    world.pending.clear()
    await asyncio.sleep(6)
    await world.cluster.flush()
    assert world.times()["app"] == "2026-05-06T07:00:00Z"
    assert world.cluster.objects[REF]["status"]["lastRun"] == "2026-05-06T06:59:00Z"


@virtual
async def test_times_of_a_trigger_without_schedule_are_only_a_last_run():
    """A check that a delivery caused moves `lastRun` alone, once in ten minutes."""
    world = World()
    await world.check("app", None)
    await world.check("lib", None)
    assert world.writes == 1
    assert set(world.times().values()) == {AGO}


@virtual
@pytest.mark.parametrize("end", ["fence", "deleted", "another"])
async def test_nothing_is_written_for_what_is_not_ours_any_more(end):
    """After the leadership, or for a trigger that was deleted or created again."""
    world = World(last_run="2026-05-06T06:59:00Z")
    await world.check("app")
    if end == "fence":
        world.fence.lost = True
    else:
        world.cluster.drop(REF)
    if end == "another":
        world.cluster.trigger("ScheduleTrigger", "every", status=recorded(answeredAt=AGO))
    await asyncio.sleep(1200)
    assert world.cluster.deferred == []
    assert world.handled._unwritten == {}


@virtual
async def test_a_write_that_fails_is_tried_again():
    """The API server was away at that moment."""
    world = World(last_run="2026-05-06T06:59:00Z")
    await world.check("app")
    await asyncio.sleep(600)
    [(_, _, _, unwritten)] = world.cluster.deferred
    world.cluster.deferred.clear()
    unwritten()
    await asyncio.sleep(10)
    await world.cluster.flush()
    assert world.times()["app"] == "2026-05-06T07:00:00Z"


@virtual
@pytest.mark.parametrize("end", ["recorded", "deleted"])
async def test_nothing_is_kept_of_times_that_were_recorded_at_once(end):
    """Of a trigger that is checked once in a long while, or deleted, no memory is taken."""
    world = World()
    await world.check("app")
    assert world.writes == 1
    if end == "deleted":
        world.cluster.drop(REF)
    await asyncio.sleep(1200)
    assert world.handled._unwritten == {}
    assert world.writes == 1
