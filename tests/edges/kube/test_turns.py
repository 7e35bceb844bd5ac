"""Turns of requests to the API server: one namespace's many do not hold up another's."""

import asyncio
import doctest

import pytest

from git_events_runner.edges.kube import request_slots as module
from git_events_runner.edges.kube.request_slots import RequestSlots
from git_events_runner.resources.kinds import KINDS
from tests.flow.virtual import at, virtual


@virtual
async def test_requests_of_one_namespace_hold_up_none_of_another():
    """A thousand status writes of a tenant under way and waiting: a neighbour's request is sent immediately."""
    turns = RequestSlots()
    sent = {"evil": 0, "good": 0}

    async def request(namespace):
        async with turns.of(f"/apis/x/v1/namespaces/{namespace}/things/a/status"):
            sent[namespace] += 1
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(request("evil"))
        await asyncio.sleep(0.5)
        assert sent["evil"] == 48
        for _ in range(10):
            began = at()
            await request("good")
            assert at() - began == 1
    assert sent == {"evil": 1000, "good": 10}


@pytest.mark.parametrize("namespaces", [1, 600])
@virtual
async def test_a_request_for_the_lease_waits_for_no_other(namespaces):
    """With 600 status writes of a second under way, in its own namespace or in 600 others, it is sent immediately."""
    turns = RequestSlots()

    async def request(path):
        async with turns.of(path):
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for number in range(600):
            namespace = f"n{number % namespaces}"
            group.create_task(request(f"/apis/x/v1/namespaces/{namespace}/things/t{number}/status"))
        await asyncio.sleep(0.5)
        for path in (KINDS["Lease"].path("n0", "lock"), KINDS["Lease"].path("n0")):
            began = at()
            await request(path)
            assert at() - began == 1


@virtual
async def test_a_request_that_is_cancelled_gives_its_turn_back():
    """While it waits, and in the moment in which it is admitted."""
    turns = RequestSlots()

    async def request():
        async with turns.of("/api/v1/nodes"):
            await asyncio.sleep(1)

    tasks = [asyncio.ensure_future(request()) for _ in range(200)]
    await asyncio.sleep(1)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks)
    assert turns._shares.free == 64
    assert len(turns._waiting) == 0


def test_the_namespace_of_a_request_is_in_its_path():
    """The module's doctest; what is cluster-wide shares a turn of its own."""
    assert doctest.testmod(module).failed == 0
    assert RequestSlots().of("/api/v1/nodes")._namespace == ""
