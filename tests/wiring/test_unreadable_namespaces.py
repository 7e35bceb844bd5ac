"""What is reported of namespaces that are to be served and cannot be read."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

from git_events_runner.edges.kube.store import StoreWriter
from git_events_runner.flow.utility import Health
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from git_events_runner.wiring.unreadable_namespaces import UnreadableNamespaces
from tests.flow.virtual import virtual
from tests.flow.world import Cluster

REF = Ref("ConfigMap", "ger", "config")


def world(*namespaces):
    """A cluster with these namespaces, and the ConfigMap of the runtime config."""
    cluster = Cluster()
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "config", "namespace": "ger"}})
    for name in namespaces:
        cluster.put({"kind": "Namespace", "metadata": {"name": name}})
    return cluster, Health(clock=lambda: 0.0)


@asynccontextmanager
async def watched(cluster, health, *served):
    namespaces = UnreadableNamespaces(
        served=served,
        store=cluster.store,
        metrics=cluster.metrics,
        announcer=cluster,
        ref=REF,
        note=partial(health.note, "namespaces"),
        none_served=lambda problem: health.set_problem("namespaces", problem),
    )
    async with running(namespaces=namespaces.run()):
        yield


def number(cluster, reason):
    return cluster.series(f'namespaces_not_served{{reason="{reason}"}}')


@virtual
async def test_a_namespace_that_refuses_and_one_that_is_missing_are_reported_until_they_join():
    """One Event with both names, a line each for `/ready`, the metric; nothing is left when they can be read."""
    cluster, health = world("a", "shut")
    writer = StoreWriter(cluster.store, "Job", namespace="shut", optional=True)
    writer.refuse('jobs.batch is forbidden in the namespace "shut"')
    async with watched(cluster, health, "a", "shut", "gone"):
        await asyncio.sleep(3600)
        [(ref, reason, note)] = cluster.told
        assert (ref, reason) == (REF, "NamespaceNotServed")
        assert "gone: does not exist" in note
        assert "shut: cannot be read (jobs.batch is forbidden" in note
        assert [line.split(":")[0] for line in health.notes] == ["namespace gone", "namespace shut"]
        assert (number(cluster, "Missing"), number(cluster, "Refused")) == (1, 1)
        assert health.not_ready() == []
        writer.admit()
        cluster.put({"kind": "Namespace", "metadata": {"name": "gone"}})
        await asyncio.sleep(6)
    assert health.notes == []
    assert (number(cluster, "Missing"), number(cluster, "Refused")) == (0, 0)
    assert len(cluster.told) == 1


@virtual
async def test_what_passes_in_a_moment_is_not_reported():
    """A namespace whose roles follow it by a second has no Event."""
    cluster, health = world("a", "new")
    async with watched(cluster, health, "a", "new"):
        await asyncio.sleep(4)
        writer = StoreWriter(cluster.store, "Job", namespace="new", optional=True)
        writer.refuse("forbidden")
        await asyncio.sleep(2)
        writer.admit()
        await asyncio.sleep(60)
    assert cluster.told == []


@virtual
async def test_one_that_refuses_again_is_reported_again():
    """Each time that it begins, and only then."""
    cluster, health = world("a", "b")
    async with watched(cluster, health, "a", "b"):
        for _ in range(2):
            writer = StoreWriter(cluster.store, "Job", namespace="a", optional=True)
            writer.refuse("forbidden")
            await asyncio.sleep(30)
            writer.admit()
            await asyncio.sleep(30)
    assert cluster.reasons == ["NamespaceNotServed"] * 2


@virtual
async def test_a_replica_that_can_read_no_namespace_is_not_ready():
    """It would answer every request with 503."""
    cluster, health = world("b")
    async with watched(cluster, health, "a"):
        await asyncio.sleep(1)
        assert health.not_ready() == ["namespaces: no namespace can be read"]
        cluster.put({"kind": "Namespace", "metadata": {"name": "a"}})
        await asyncio.sleep(6)
        assert health.not_ready() == []


@virtual
async def test_hundreds_of_them_make_one_event_and_fifty_lines():
    """Neither grows beyond what is read."""
    cluster, health = world("a")
    async with watched(cluster, health, "a", *(f"gone-{one:03}" for one in range(300))):
        await asyncio.sleep(60)
    [(_, _, note)] = cluster.told
    assert note.endswith("and 290 more")
    assert len(note) < 1024
    assert health.notes[-1] == "and 250 more namespaces"
