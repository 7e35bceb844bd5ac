"""What the in-process API server does beyond what a kube-apiserver alone shows: clean-up, forgotten history, faults."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.responses import Response

from git_events_runner.edges.kube.client import Client
from git_events_runner.errors import ApiGone, ApiNotFound, ApiUnavailable
from git_events_runner.local.apiserver.server import ApiServer, serving
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}}
CONFIGS = KINDS["ConfigMap"]


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with serving(history=5, collect_after_s=0.01) as server:
        yield server


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[Client]:
    async with Client.connect_to(api.url, api.token) as found:
        yield found


async def gone(client: Client, ref: Ref) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                await client.get(ref)
            except ApiNotFound:
                return
            await asyncio.sleep(0.01)


def owned(owner: dict, name: str) -> dict:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": owner["metadata"]["uid"]}
    return {**CONFIG, "metadata": {**CONFIG["metadata"], "name": name, "ownerReferences": [reference]}}


async def test_dependents_follow_their_owner(client: Client):
    """Deleting an owner deletes what it owns; a dependent created for an owner that is gone goes too."""
    owner = await client.create(CONFIGS, CONFIG)
    await client.create(CONFIGS, owned(owner, "first"))
    await client.delete(Ref("ConfigMap", "default", "x"))
    await gone(client, Ref("ConfigMap", "default", "first"))
    await client.create(CONFIGS, owned(owner, "second"))
    await gone(client, Ref("ConfigMap", "default", "second"))


async def test_orphans_stay(client: Client):
    """Orphan propagation leaves the dependents and takes the owner out of them."""
    owner = await client.create(CONFIGS, CONFIG)
    await client.create(CONFIGS, owned(owner, "first"))
    await client.delete(Ref("ConfigMap", "default", "x"), propagation="Orphan")
    await gone(client, Ref("ConfigMap", "default", "x"))
    left = await client.get(Ref("ConfigMap", "default", "first"))
    assert not left["metadata"].get("ownerReferences")


async def test_foreground_waits_for_dependents(client: Client):
    """Foreground propagation deletes the dependents first, then the owner."""
    owner = await client.create(CONFIGS, CONFIG)
    await client.create(CONFIGS, owned(owner, "first"))
    await client.delete(Ref("ConfigMap", "default", "x"), propagation="Foreground")
    await gone(client, Ref("ConfigMap", "default", "x"))
    await gone(client, Ref("ConfigMap", "default", "first"))


async def test_namespace_takes_its_content(client: Client):
    """Deleting a namespace deletes what is in it, then itself."""
    await client.create(KINDS["Namespace"], {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    await client.create(CONFIGS, {**CONFIG, "metadata": {"name": "x", "namespace": "team"}})
    await client.delete(Ref("Namespace", None, "team"))
    await gone(client, Ref("ConfigMap", "team", "x"))
    await gone(client, Ref("Namespace", None, "team"))


async def test_watch_from_a_forgotten_version(api: ApiServer, client: Client):
    """A watch from before the history is told so by an ERROR event of 410, also one that is under way."""
    page = await client.list_page(CONFIGS)
    for number in range(20):
        await client.create(CONFIGS, {**CONFIG, "metadata": {"name": f"c{number}", "namespace": "default"}})
    async with client.watch(CONFIGS, resource_version=page.resource_version, timeout_s=5) as events:
        event = await anext(events)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_continue_token_expires(api: ApiServer, client: Client):
    """A continue token from before the history is 410."""
    for number in range(3):
        await client.create(CONFIGS, {**CONFIG, "metadata": {"name": f"c{number}", "namespace": "default"}})
    page = await client.list_page(CONFIGS, limit=2)
    assert page.continue_token
    api.forget_history()
    with pytest.raises(ApiGone):
        await client.list_page(CONFIGS, limit=2, continue_token=page.continue_token)


async def test_intercepted_requests(api: ApiServer, client: Client):
    """A test can swallow the answer of a request that took effect."""

    async def lose(request, proceed):
        await proceed()
        return Response(status_code=504)

    api.intercept = lose
    with pytest.raises(ApiUnavailable):
        await client.create(CONFIGS, CONFIG)
    api.intercept = None
    assert await client.get(Ref("ConfigMap", "default", "x"))


async def test_stops_with_open_watches():
    """Leaving ends the watches of clients that are still connected."""
    async with asyncio.timeout(5):
        async with serving() as server, Client.connect_to(server.url, server.token) as client:
            page = await client.list_page(CONFIGS)
            async with client.watch(CONFIGS, resource_version=page.resource_version, timeout_s=60):
                pass
