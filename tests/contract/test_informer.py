"""An informer keeps a store true to either server: lists, events, new uids, versions that are too old."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiGone
from git_events_runner.local.apiserver.server import serving
from git_events_runner.resources.kinds import KINDS
from git_events_runner.serving import running

from .conftest import World
from .examples import CONFIG, JOB


@asynccontextmanager
async def informed(world: World, kind: str, failed=None):
    """A store that an informer keeps true for one kind in the test's namespace."""
    store = Store()
    informer = Informer(
        client=world.client,
        kind=KINDS[kind],
        writer=StoreWriter(store, kind, namespace=world.namespace),
        namespace=world.namespace,
        failed=lambda _kind, error: None if failed is None else failed.append(error),
        absent=lambda: False,
    )
    async with running(informer=informer.run()):
        yield store


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the condition is in a store
            await asyncio.sleep(0.01)


async def test_a_store_follows_the_server(world: World):
    """What was there, what comes, changes and goes; a new object of an old name is another object."""
    ref = world.ref("ConfigMap", "x")
    first = await world.create(CONFIG)
    async with informed(world, "ConfigMap") as store:
        await store.wait_synced("ConfigMap")
        assert store.get(ref).uid == first["metadata"]["uid"]
        await world.client.patch(ref, {"data": {"a": "2"}})
        await until(lambda: store.get(ref).raw["data"]["a"] == "2")
        await world.client.delete(ref)
        second = await world.create(CONFIG)
        await until(lambda: (found := store.get(ref)) and found.uid == second["metadata"]["uid"])
        assert store.by_uid("ConfigMap", first["metadata"]["uid"]) is None
        await world.client.delete(ref)
        await until(lambda: store.get(ref) is None)


async def test_a_job_that_ends_is_seen_to_end(world: World):
    """The deletion brings the last state, for a TTL of 0."""
    made = await world.create(JOB)
    ref = world.ref("Job", "x")
    async with informed(world, "Job") as store:
        await store.wait_synced("Job")
        await world.client.delete(ref)
        await until(lambda: store.get(ref) is None)
        assert store.last_of(made["metadata"]["uid"]).ref == ref


async def test_an_informer_lists_again_when_its_version_is_forgotten():
    """And what vanished meanwhile vanishes from the store; watches before and after are the same informer's."""
    async with serving() as api, Client.connect_to(api.url, api.token) as client:
        world = World(client=client, namespace="default", real=False)
        await world.create(CONFIG)
        await world.create({**CONFIG, "metadata": {"name": "kept"}})
        async with informed(world, "ConfigMap") as store:
            await store.wait_synced("ConfigMap")
            api.forget_history()
            await client.delete(world.ref("ConfigMap", "x"))
            await until(lambda: store.get(world.ref("ConfigMap", "x")) is None)
            assert store.get(world.ref("ConfigMap", "kept")) is not None


@pytest.mark.parametrize("count", [3])
async def test_a_list_in_pages_begins_again_when_its_token_is_too_old(count):
    """410 on a continue token (here: the history is forgotten between two pages) gives a whole list all the same."""
    async with serving() as api, Client.connect_to(api.url, api.token) as client:
        world = World(client=client, namespace="default", real=False)
        for number in range(count):
            await world.create({**CONFIG, "metadata": {"name": f"c{number}"}})
        forgotten = []

        class Small:
            """A client that asks for pages of one."""

            async def list_page(self, kind, **more):
                if more.get("continue_token") and not forgotten:
                    forgotten.append(1)
                    api.forget_history()
                return await client.list_page(kind, **(more | {"limit": 1}))

            def watch(self, kind, **more):
                return client.watch(kind, **more)

        failed = []
        small = World(client=Small(), namespace="default", real=False)  # type: ignore[arg-type]
        async with informed(small, "ConfigMap", failed) as store:
            await store.wait_synced("ConfigMap")
            assert len(store.all("ConfigMap")) == count
        assert [type(error) for error in failed] == [ApiGone]
