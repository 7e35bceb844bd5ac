"""The newest run of a source is never dropped: it is reported as waiting, and starts when a slot is free."""

import asyncio

from git_events_runner.rules.derived_conditions import conditions_of
from tests.flow.test_deletions import leader
from tests.flow.virtual import until, virtual
from tests.flow.world import B, Cluster, recorded


def ready(cluster, trigger):
    return conditions_of(cluster.objects[cluster.ref(trigger)]["status"])["Ready"]


def world(runs=1, cluster=None, **last):
    """A trigger of another one's Job, which holds the only slot, and of a source with waiting runs."""
    cluster = cluster or Cluster()
    busy = cluster.trigger(name="busy", status=recorded())
    holder = cluster.job(busy, suspend=False)
    condition = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "watching"}
    trigger = cluster.trigger(status=recorded(runs=runs, **last) | {"conditions": [condition], "state": "Idle"})
    return cluster, trigger, holder


@virtual
async def test_the_newest_run_waits_for_hours_and_runs():
    """Its trigger shows why it does not run; with a slot it runs, and the warning is removed."""
    cluster, trigger, holder = world()
    job = cluster.job(trigger, age_s=1, waiting_timeout_seconds="300", reason="fire-changed")
    async with leader(cluster, limit=1):
        await asyncio.sleep(290)
        assert cluster.reasons == []
        await until(lambda: ready(cluster, trigger)["reason"] == "WaitingForSlot", within_s=20)
        assert ready(cluster, trigger)["status"] == "True"
        assert job["metadata"]["name"] in ready(cluster, trigger)["message"]
        assert cluster.series('jobs_waiting_too_long{namespace="n"') == 1
        await asyncio.sleep(6 * 3600)
        assert cluster.reasons == ["WaitingForSlot"]
        assert cluster.ref(job) in cluster.objects
        cluster.finish(holder)
        await until(lambda: not cluster.objects[cluster.ref(job)]["spec"]["suspend"], within_s=2)
        await until(lambda: ready(cluster, trigger)["reason"] == "Succeeded", within_s=5)
        await until(lambda: b"jobs_waiting_too_long{" not in cluster.metrics.render(), within_s=5)


@virtual
async def test_an_overtaken_run_expires_and_the_newest_stays():
    """The expiry is an Event, and no problem of the source: the newer run replaces it."""
    cluster, trigger, _ = world(runs=2, commit=B)
    old = cluster.job(trigger, 1, age_s=1, waiting_timeout_seconds="60", reason="fire-first")
    new = cluster.job(trigger, 2, age_s=2, waiting_timeout_seconds="60", reason="fire-changed", commit=B)
    async with leader(cluster, limit=1):
        await until(lambda: cluster.ref(old) not in cluster.objects, within_s=75)
        await until(lambda: ready(cluster, trigger)["reason"] == "WaitingForSlot", within_s=5)
        await asyncio.sleep(3600)
    assert cluster.ref(new) in cluster.objects
    assert ready(cluster, trigger)["status"] == "True"
    assert set(cluster.reasons) == {"Expired", "WaitingForSlot"}


class Hanging(Cluster):
    """Statuses are not written while `hangs`."""

    hangs = False

    async def write(self, ref, uid, *mutations):
        if self.hangs:
            await asyncio.Event().wait()
        return await super().write(ref, uid, *mutations)


@virtual
async def test_a_run_whose_expiry_cannot_be_recorded_starts_when_a_slot_is_free():
    """A status write that hangs for hours holds the Job for half a minute, not for as long as it hangs."""
    cluster, trigger, holder = world(cluster=Hanging())
    old = cluster.job(trigger, 1, age_s=1, waiting_timeout_seconds="60", reason="fire-always")
    async with leader(cluster, limit=1):
        await asyncio.sleep(50)
        cluster.hangs = True
        await asyncio.sleep(15)
        cluster.finish(holder)
        await until(lambda: not cluster.objects[cluster.ref(old)]["spec"]["suspend"], within_s=40)


@virtual
async def test_the_next_leader_does_not_report_it_again():
    """The warning is in the status; and it is removed by the next leader, too."""
    cluster, trigger, holder = world()
    job = cluster.job(trigger, age_s=1, waiting_timeout_seconds="60", reason="fire-changed")
    async with leader(cluster, limit=1):
        await until(lambda: "WaitingForSlot" in cluster.reasons)
    cluster.finish(holder)
    async with leader(cluster, limit=1):
        await until(lambda: ready(cluster, trigger)["reason"] == "Succeeded", within_s=5)
    assert cluster.reasons == ["WaitingForSlot"]
    assert not cluster.objects[cluster.ref(job)]["spec"]["suspend"]


@virtual
async def test_seventeen_pushes_are_seventeen_runs_though_all_slots_are_held_for_long():
    """Sixteen Jobs of ten minutes hold every slot, each source has one push: all run."""
    cluster = Cluster()
    names = [f"s{number}" for number in range(33)]
    entry = recorded()["checkedSources"]["app"]
    trigger = cluster.trigger(names=names, status={"checkedSources": dict.fromkeys(names, entry)})
    held = [cluster.job(trigger, source=name, suspend=False) for name in names[:16]]
    waiting = [cluster.job(trigger, source=name, age_s=1, reason="fire-changed") for name in names[16:]]
    async with leader(cluster, limit=16, waiting_s=300):
        await asyncio.sleep(600)
        for job in held:
            cluster.finish(job)
        await until(lambda: sum(_runs(cluster, job) for job in waiting) == 16, within_s=5)
        cluster.finish(next(job for job in waiting if _runs(cluster, job)))
        await until(lambda: all(_runs(cluster, job) for job in waiting), within_s=5)


def _runs(cluster, job):
    return not cluster.objects[cluster.ref(job)]["spec"]["suspend"]
