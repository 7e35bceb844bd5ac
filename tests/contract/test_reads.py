"""Lists in pages and watches, as the informer reads them."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from git_events_runner.edges.kube.client import Client
from git_events_runner.errors import ApiError, ApiGone, ApiInvalid, ApiNotFound, ApiUnauthorized
from git_events_runner.flow.crds import missing_fields
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

from .conftest import Bearer, World
from .examples import CONFIG, TRIGGER

WATCH_S = 10


async def configs(world: World, *names: str) -> None:
    for name in names:
        await world.create({**CONFIG, "metadata": {"name": name, "labels": {"team": name[0]}}})


async def test_not_found(world: World):
    """Reading what is not there is 404 NotFound."""
    with pytest.raises(ApiNotFound) as caught:
        await world.client.get(world.ref("Job", "x"))
    assert caught.value.reason == "NotFound"


async def test_pages(world: World):
    """A list with a limit comes in pages that show the first page's state, and says its version."""
    await configs(world, "a1", "a2", "b1", "b2", "c1")
    kind = KINDS["ConfigMap"]
    first = await world.client.list_page(kind, namespace=world.namespace, limit=2, label_selector="team")
    await world.client.delete(world.ref("ConfigMap", "c1"))
    names = [item["metadata"]["name"] for item in first.items]
    page = first
    while page.continue_token:
        page = await world.client.list_page(
            kind, namespace=world.namespace, limit=2, label_selector="team", continue_token=page.continue_token
        )
        assert page.resource_version == first.resource_version
        names += [item["metadata"]["name"] for item in page.items]
    assert names == ["a1", "a2", "b1", "b2", "c1"]


async def test_wrong_continue_token(world: World):
    """A continue token that the server does not know is refused: 400 or 410."""
    with pytest.raises((ApiGone, ApiInvalid)):
        await world.client.list_page(KINDS["ConfigMap"], namespace=world.namespace, continue_token="bm90aGluZw")


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("team=a", None, ["a1", "a2"]),
        ("team!=a,team", None, ["b1"]),
        ("team in (b, c)", None, ["b1"]),
        ("team,team notin (b)", None, ["a1", "a2"]),
        (None, "metadata.name=b1", ["b1"]),
    ],
)
async def test_selectors(world: World, labels: str | None, fields: str | None, expected: list[str]):
    """Label selectors and the field selector metadata.name choose."""
    await configs(world, "a1", "a2", "b1")
    page = await world.client.list_page(
        KINDS["ConfigMap"], namespace=world.namespace, label_selector=labels, field_selector=fields
    )
    assert [item["metadata"]["name"] for item in page.items] == expected


async def test_watch_gives_changes_in_order(world: World):
    """A watch from a list's version gives every change after it, in order, with growing versions."""
    kind = KINDS["ScheduleTrigger"]
    page = await world.client.list_page(kind, namespace=world.namespace)
    async with world.client.watch(
        kind, resource_version=page.resource_version, timeout_s=WATCH_S, namespace=world.namespace
    ) as events:
        await world.create(TRIGGER)
        ref = world.ref("ScheduleTrigger", "x")
        await world.client.patch(ref, {"status": {"state": "Idle"}}, subresource="status")
        await world.client.delete(ref)
        seen = [event async for event in _some(events, 3)]
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert versions == sorted(set(versions))
    assert seen[0]["object"]["kind"] == "ScheduleTrigger"
    assert seen[2]["object"]["status"] == {"state": "Idle"}


async def test_watch_of_a_selection(world: World):
    """An object that enters a selection is ADDED, one that leaves it DELETED."""
    kind = KINDS["ConfigMap"]
    page = await world.client.list_page(kind, namespace=world.namespace)
    async with world.client.watch(
        kind,
        resource_version=page.resource_version,
        timeout_s=WATCH_S,
        namespace=world.namespace,
        label_selector="team=a",
    ) as events:
        await world.create(CONFIG)
        ref = world.ref("ConfigMap", "x")
        await world.client.patch(ref, {"metadata": {"labels": {"team": "a"}}})
        await world.client.patch(ref, {"data": {"a": "2"}})
        await world.client.patch(ref, {"metadata": {"labels": {"team": "b"}}})
        seen = [event["type"] async for event in _some(events, 3)]
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_watch_ends_by_itself(world: World):
    """A watch without changes ends after its time, and gives nothing but bookmarks of the version reached."""
    kind = KINDS["ScheduleTrigger"]
    page = await world.client.list_page(kind, namespace=world.namespace)
    async with world.client.watch(
        kind, resource_version=page.resource_version, timeout_s=2, namespace=world.namespace
    ) as events:
        seen = [event async for event in events]
    assert world.real or seen
    for event in seen:
        assert event["type"] == "BOOKMARK"
        assert int(event["object"]["metadata"]["resourceVersion"]) >= int(page.resource_version)


async def test_watch_of_a_kind_not_served(world: World):
    """A path that is no resource is 404."""
    kind = KINDS["ScheduleTrigger"]
    wrong = type(kind)(name="Nothing", plural="nothings", group=kind.group, version=kind.version, namespaced=True)
    with pytest.raises(ApiNotFound):
        await world.client.list_page(wrong, namespace=world.namespace)


async def test_wrong_token(world: World):
    """A token that is not known is 401."""
    stranger = Client(replace(world.client._connection, authorization=Bearer("wrong")))
    with pytest.raises(ApiUnauthorized):
        await stranger.list_page(KINDS["Job"])


async def test_wrong_content_type(world: World):
    """A body of another type is 415 with a Status object."""
    connection = world.client._connection
    headers = {"Authorization": await connection.authorization(), "Content-Type": "text/plain"}
    url = connection.url + KINDS["ConfigMap"].path(world.namespace)
    async with connection.session.post(url, data=b"x", headers=headers) as response:
        assert response.status == 415
        assert (await response.json())["reason"] == "UnsupportedMediaType"


async def test_broken_json(world: World):
    """A body that is not JSON is 400."""
    connection = world.client._connection
    headers = {"Authorization": await connection.authorization(), "Content-Type": "application/json"}
    url = connection.url + KINDS["ConfigMap"].path(world.namespace)
    async with connection.session.post(url, data=b"{", headers=headers) as response:
        assert response.status == 400


async def test_many_watches_at_once(world: World):
    """Watches of one kind see the same changes."""
    kind = KINDS["ConfigMap"]
    page = await world.client.list_page(kind, namespace=world.namespace)

    async def first() -> str:
        async with world.client.watch(
            kind, resource_version=page.resource_version, timeout_s=WATCH_S, namespace=world.namespace
        ) as events:
            return (await anext(_some(events, 1)))["object"]["metadata"]["name"]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(first()) for _ in range(5)]
        await configs(world, "a1")
    assert {task.result() for task in tasks} == {"a1"}


async def test_watch_from_before_the_history(world: World):
    """A watch from a version that the server no longer knows is told so: 410 Expired, as an ERROR event."""
    await world.create(TRIGGER)
    world.forget()
    async with world.client.watch(
        KINDS["ScheduleTrigger"], resource_version="1", timeout_s=WATCH_S, namespace=world.namespace
    ) as events:
        event = await anext(events)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["kind"] == "Status"


@pytest.mark.parametrize(
    "name", ["Namespace", "ConfigMap", "Job", "GitRepo", "ClusterGitRepo", "Action", "ClusterAction", "WebhookTrigger"]
)
async def test_every_watched_kind(world: World, name: str):
    """What the controller lists and watches in all namespaces can be: items with names, and a version to go on from."""
    kind = KINDS[name]
    page = await world.client.list_page(kind, limit=1)
    assert int(page.resource_version) > 0
    assert all(item["kind"] == name and item["metadata"]["uid"] for item in page.items)
    async with world.client.watch(kind, resource_version=page.resource_version, timeout_s=1) as events:
        assert {event["type"] async for event in events} <= {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}


async def test_definitions_are_read(world: World):
    """A CRD shows its versions, the schema of the status, and the subresource: what is judged at the start."""
    ref = Ref("CustomResourceDefinition", None, "webhooktriggers.git-events-runner.rs")
    found = await world.client.get(ref)
    assert missing_fields("WebhookTrigger", found) == []
    with pytest.raises(ApiNotFound):
        await world.client.get(Ref(ref.kind, None, "nothings.git-events-runner.rs"))


async def test_cluster_sources(world: World):
    """Kinds without a namespace are made, read and deleted by name alone."""
    name = world.namespace
    kind, spec = KINDS["ClusterGitRepo"], {"repoUri": "https://git.example.test/team/app"}
    made = await world.client.create(
        kind, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec}
    )
    ref = Ref(kind.name, None, name)
    assert await world.client.get(ref) == made
    assert "namespace" not in made["metadata"]
    await world.client.delete(ref)
    with pytest.raises(ApiNotFound):
        await world.client.get(ref)


async def _some(events, count: int):
    """The first events that are no bookmarks."""
    try:
        async with asyncio.timeout(WATCH_S):
            async for event in events:
                if event["type"] != "BOOKMARK":
                    yield event
                    count -= 1
                    if count == 0:
                        return
    except (aiohttp.ClientError, ApiError) as error:  # pragma: no cover  told with the events missing
        raise AssertionError("the watch ended early") from error
