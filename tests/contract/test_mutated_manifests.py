"""`local` takes what a real API server takes, and refuses what it refuses: changed manifests of every kind."""

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from git_events_runner.edges.kube.client import Client
from git_events_runner.errors import ApiError, ConfigError
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.manifests import load
from git_events_runner.resources.kinds import KINDS
from tests.cluster.plane import ControlPlane
from tests.local.mutations import SEEDS, mutated

from .conftest import _read, connected

COUNT = 3000
AT_ONCE = 8


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    """The real server's administrator."""
    config = _read(control_plane.kubeconfig(control_plane.admin_token))
    async with connected(config) as found:
        yield found


def manifests() -> list[dict[str, Any]]:
    """The seeds, and a fixed set of changed ones; each with a name of its own."""
    chance = random.Random(77)
    found = [*SEEDS, *(mutated(chance.choice(SEEDS), chance) for _ in range(COUNT))]
    named = []
    for number, obj in enumerate(copy.deepcopy(found)):
        if isinstance(obj.get("metadata"), dict):
            obj["metadata"]["name"] = f"m{number}"
            obj["metadata"].pop("finalizers", None)
        named.append(obj)
    return named


async def refused_by_server(client: Client, obj: dict[str, Any]) -> str:
    """What the real server says of an object; empty when it takes it."""
    kind = KINDS[obj["kind"]]
    metadata = {"namespace": "default", **obj["metadata"]} if kind.namespaced else obj["metadata"]
    if metadata.get("namespace", "default") != "default":
        return "in another namespace"
    try:
        await client.create(kind, {**obj, "metadata": metadata}, strict=True)
    except ApiError as error:
        return str(error)
    return ""


async def refused_by_local(objects: list[dict[str, Any]], folder: Path) -> list[str]:
    """What `local` says of each object alone; names that no manifest has are left out."""
    told = []
    async with serving() as server:
        for number, obj in enumerate(objects):
            path = folder / f"{number}.yaml"
            path.write_text(json.dumps(obj))
            try:
                load([str(path)], server)
            except ConfigError as error:
                told.append("; ".join(one for one in error.problems if "in these manifests" not in one))
            else:
                told.append("")
    return told


async def test_the_same_verdicts(client: Client, tmp_path: Path):
    """What one takes the other takes, what one refuses the other refuses."""
    objects = manifests()
    places = asyncio.Semaphore(AT_ONCE)

    async def one(obj: dict[str, Any]) -> str:
        async with places:
            return await refused_by_server(client, obj)

    ours = await refused_by_local(objects, tmp_path)
    theirs = await asyncio.gather(*map(one, objects))
    differing = [
        f"{obj['kind']}: server {their or 'takes it'!r:.300}; local {our or 'takes it'!r:.300}; {obj!r:.50}"
        for obj, our, their in zip(objects, ours, theirs, strict=True)
        if bool(our) != bool(their) and their != "in another namespace"
    ]
    assert not differing, f"{len(differing)} of {len(objects)} differ:\n" + "\n".join(differing)
    assert 0.2 < sum(map(bool, theirs)) / len(theirs) < 0.95
