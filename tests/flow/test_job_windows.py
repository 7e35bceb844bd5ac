"""Jobs without a slot when their window closed start at the next opening; what people request starts at any time."""

import asyncio

import pytest

from git_events_runner.resources.ref import Ref
from tests.flow.test_deletions import leader
from tests.flow.virtual import until, virtual
from tests.flow.world import START, A, B, Cluster, recorded

REF = Ref("WebhookTrigger", "n", "hook")
# It is 07:00 UTC when a test begins: open until 07:05, and from 08:00 on.
WINDOWS = [{"allow": "0 7,8 * * *", "duration": "5m"}]
STARTED = {"startTime": START.isoformat(), "active": 1, "ready": 1}


def world(reason="fire-changed", *, status=None, **spec):
    """A trigger with windows, and the Job of its run, which waits for a slot."""
    cluster = Cluster()
    trigger = cluster.trigger(status=status or recorded(runs=1, commit=A), **({"windows": WINDOWS} | spec))
    job = cluster.job(trigger, admission="waiting", reason=reason)
    last = {"name": job["metadata"]["name"], "phase": "Queued"}
    cluster.change(REF, status=recorded(runs=1, commit=A, lastJob=last) | {"observedGeneration": 1})
    return cluster, trigger, cluster.ref(job)


def runs(cluster, ref):
    return not cluster.objects[ref]["spec"]["suspend"]


def warnings(cluster):
    return cluster.objects[REF]["status"].get("warnings") or []


async def minutes(number):
    await asyncio.sleep(number * 60)


@virtual
async def test_a_job_without_a_slot_starts_at_the_next_opening():
    """To the second, though slots are free long before; the trigger shows the time until then, by one write."""
    cluster, _, job = world()
    async with leader(cluster, limit=0):
        await minutes(10)
        assert [(one["reason"], one["source"]) for one in warnings(cluster)] == [("OutsideWindows", "app")]
        assert "2026-05-06T08:00:00Z" in warnings(cluster)[0]["message"]
        cluster.limit, before = 4, len(cluster.calls)
        await minutes(49.9)
        assert not runs(cluster, job)
        assert [call for call in cluster.calls[before:] if call[0] in {"write", "patch"}] == []
        await until(lambda: runs(cluster, job), within_s=8)
        assert 3600 <= (cluster.now() - START).total_seconds() <= 3601.5
        cluster.change(job, status=STARTED)
        await until(lambda: warnings(cluster) == [], within_s=30)
    assert cluster.reasons.count("OutsideWindows") == 1


@virtual
async def test_a_new_leader_lets_it_wait_as_well():
    """The windows are in the trigger, not in memory."""
    cluster, _, job = world()
    async with leader(cluster, limit=0):
        await minutes(10)
    async with leader(cluster, limit=4):
        await minutes(49)
        assert not runs(cluster, job)
        await until(lambda: runs(cluster, job), within_s=65)


@pytest.mark.parametrize("reason", ["fire-requested", "fire-deleted"])
def test_a_run_that_is_requested_by_hand_or_for_a_deletion_starts_at_any_time(reason):
    """As it is created at any time."""

    @virtual
    async def check():
        cluster, _, job = world(reason)
        async with leader(cluster, limit=0):
            await minutes(10)
            cluster.limit = 4
            await until(lambda: runs(cluster, job), within_s=3)
        assert "OutsideWindows" not in cluster.reasons

    check()


@virtual
async def test_it_keeps_no_other_job_out():
    """Nor do the windows of one trigger concern another one."""
    cluster, _, job = world()
    async with leader(cluster, limit=0):
        await minutes(10)
        other = cluster.trigger(name="other", status=recorded())
        free = cluster.ref(cluster.job(other, age_s=99, admission="waiting"))
        cluster.limit = 1
        await until(lambda: runs(cluster, free), within_s=3)
        assert not runs(cluster, job)


@virtual
async def test_the_time_outside_the_windows_does_not_count_as_waiting_for_a_slot():
    """A run for its own request is not deleted at the opening for having waited all night."""
    cluster, _, job = world("fire-always")
    async with leader(cluster, limit=0, waiting_s=400):
        await minutes(61)
        cluster.limit = 1
        await until(lambda: runs(cluster, job), within_s=3)
    assert "Expired" not in cluster.reasons


@virtual
async def test_windows_that_are_removed_let_it_start():
    """As changes that wait run immediately."""
    cluster, _, job = world()
    async with leader(cluster, limit=0):
        await minutes(10)
        cluster.limit = 1
        cluster.change(REF, spec={"windows": None})
        await until(lambda: runs(cluster, job), within_s=3)


@virtual
async def test_an_older_commit_does_not_start_after_a_newer_one_that_was_requested():
    """The newer run started outside the windows: the older one, which still waits, is superseded."""
    cluster, trigger, old = world()
    async with leader(cluster, limit=0):
        await minutes(10)
        new = cluster.ref(cluster.job(trigger, 2, age_s=700, admission="waiting", reason="fire-requested", commit=B))
        cluster.change(REF, status=recorded(runs=2, commit=B, lastJob={"name": new.name, "phase": "Queued"}))
        await minutes(1)
        assert old in cluster.objects
        cluster.limit = 4
        await until(lambda: runs(cluster, new), within_s=3)
        assert old in cluster.objects
        cluster.change(new, status=STARTED)
        await until(lambda: old not in cluster.objects, within_s=5)
        await until(lambda: "Superseded" in cluster.reasons, within_s=5)
