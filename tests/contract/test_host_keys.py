"""Pinning by compare-and-swap, against both API servers: two replicas agree on one key, whoever was first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from git_events_runner.edges.kube.snapshot import snapshot_of
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import GitHostKeyChanged, GitHostKeyUnknown
from git_events_runner.resources.ssh import HostKeyPolicy, SshAddress
from git_events_runner.wiring.host_keys import HostKeys
from tests.rules.test_host_keys import ED, OTHER

URL = "git@git.example:a/b"


class EventRecorder:
    """Remembers Events."""

    def __init__(self):
        self.said = []

    def publish(self, ref, uid, *, kind, reason, note):
        self.said.append((ref.name, kind, reason))


class Replica:
    """One controller's view: a store of its own, and its Events."""

    def __init__(self, client, policy=None):
        self.store, self.events = Store(), EventRecorder()
        self.host_keys = HostKeys(
            api=client,
            store=self.store,
            announcer=self.events,
            policy=lambda: policy or HostKeyPolicy(),
            now=lambda: datetime.now(UTC),
        )

    def unknown(self, model, key):
        return self.host_keys.refused(model, SshAddress.of(URL), GitHostKeyUnknown("new", offered=key), own=False)

    def changed(self, model, key, *, own=False):
        return self.host_keys.refused(model, SshAddress.of(URL), GitHostKeyChanged("changed", offered=key), own=own)


@pytest.fixture
async def model(world):
    made = await world.create({"kind": "GitRepo", "metadata": {"name": "app"}, "spec": {"repoUri": URL}})
    return snapshot_of(made, "GitRepo").model


async def status(world):
    return (await world.client.get(world.ref("GitRepo", "app"))).get("status") or {}


async def test_two_replicas_agree_on_one_key(world, model):
    """Of eight that see the host for the first time, with two keys, one pins; the others find its key."""
    replicas = [Replica(world.client) for _ in range(8)]
    keys = [ED, OTHER] * 4
    found = await asyncio.gather(*(each.unknown(model, key) for each, key in zip(replicas, keys, strict=True)))
    [pinned] = (await status(world))["hostKeys"]
    assert pinned in {f"git.example {ED}", f"git.example {OTHER}"}
    assert {each.status.host_keys for each in found} == {(pinned,)}
    assert sum(len(each.events.said) for each in replicas) == 1
    assert all(each.store.get(model.ref).model.status.host_keys == (pinned,) for each in replicas)


async def test_a_change_is_said_once(world, model):
    """Replicas that see a changed key write one condition and publish one Event; the pin stays."""
    first = await Replica(world.client).unknown(model, ED)
    replicas = [Replica(world.client) for _ in range(4)]
    results = await asyncio.gather(*(each.changed(first, OTHER) for each in replicas), return_exceptions=True)
    assert all(isinstance(result, GitHostKeyChanged) and "kubectl" in str(result) for result in results)
    now = await status(world)
    assert now["hostKeys"] == [f"git.example {ED}"]
    assert {c["type"]: c["status"] for c in now["conditions"]} == {"Ready": "False", "Stalled": "True"}
    assert sum(len(each.events.said) for each in replicas) == 1
    found = await world.client.get(model.ref)
    await replicas[0].host_keys.confirm(snapshot_of(found, "GitRepo").model, own=False)


async def test_a_stale_view_is_no_change(world, model):
    """A replica that has not yet seen an accepted key reads the source anew before it complains."""
    first = await Replica(world.client).unknown(model, ED)
    await world.client.patch(model.ref, {"status": {"hostKeys": None}}, subresource="status")
    again = await Replica(world.client).unknown(first, OTHER)
    assert again.status.host_keys == ()
    second = await Replica(world.client).unknown(again, OTHER)
    assert second.status.host_keys == (f"git.example {OTHER}",)
    late = Replica(world.client)
    assert (await late.changed(first, OTHER)).status.host_keys == (f"git.example {OTHER}",)
    assert late.events.said == []


async def test_strict_pins_nothing(world, model):
    """In strict mode, and where the Secret's known hosts decide, nothing is pinned and the status says why."""
    strict = Replica(world.client, HostKeyPolicy(mode="strict"))
    with pytest.raises(GitHostKeyUnknown, match=r"git\.knownHosts"):
        await strict.unknown(model, ED)
    assert "hostKeys" not in await status(world)
    assert strict.events.said == [("app", "Warning", "HostKeyUnknown")]
    with pytest.raises(GitHostKeyChanged, match="Secret"):
        await strict.changed(model, ED, own=True)


async def test_another_object_of_that_name_is_left_alone(world, model):
    """A source that was deleted and made anew, or whose spec changed, gets no pin from an older question."""
    await world.client.delete(model.ref)
    await world.create({"kind": "GitRepo", "metadata": {"name": "app"}, "spec": {"repoUri": URL}})
    with pytest.raises(GitHostKeyUnknown):
        await Replica(world.client).unknown(model, ED)
    assert await status(world) == {}
