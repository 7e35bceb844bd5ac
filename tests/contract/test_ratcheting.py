"""Objects stored before a schema became stricter: they can still be changed elsewhere, repaired, and deleted."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from git_events_runner.errors import ApiInvalid, ApiNotFound
from git_events_runner.resources.crds import crds
from git_events_runner.resources.ref import Ref

from .conftest import World
from .examples import TRIGGER

NAME = "scheduletriggers.git-events-runner.rs"
FINALIZER = "scheduletriggers.git-events-runner.rs"
STRICT: dict[str, Any] = next(crd for crd in crds() if crd["metadata"]["name"] == NAME)


def unreadable(text: str) -> dict[str, Any]:
    """A trigger with an interval that cannot be read."""
    metadata = {"name": "old", "finalizers": [FINALIZER]}
    return {**TRIGGER, "metadata": metadata, "spec": {**TRIGGER["spec"], "schedule": {"interval": text}}}


async def stored_before(world: World, obj: dict[str, Any]) -> None:
    """Store an object while the CRD has no rules, and bring the rules back."""
    loose = copy.deepcopy(STRICT["spec"])
    schema = loose["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["schedule"]
    del schema["properties"]["interval"]["x-kubernetes-validations"]
    definition = Ref("CustomResourceDefinition", None, NAME)
    await world.client.patch(definition, {"spec": loose})
    try:
        async with asyncio.timeout(30):
            while await _refused(world, obj):  # noqa: ASYNC110  the server takes up a CRD some time later
                await asyncio.sleep(0.1)
    finally:
        await world.client.patch(definition, {"spec": STRICT["spec"]})
    async with asyncio.timeout(30):
        for number in range(1000):
            name = f"probe-{number}"
            if await _refused(world, {**obj, "metadata": {"name": name}}):
                return
            await world.client.delete(world.ref("ScheduleTrigger", name))
            await asyncio.sleep(0.1)


async def _refused(world: World, obj: dict[str, Any]) -> bool:
    try:
        await world.create(obj)
    except ApiInvalid:
        return True
    return False


async def test_a_stored_object_that_became_invalid_can_be_changed_elsewhere(world: World):
    """Labels, the status and finalizers are written, another wrong value is refused, and a right one is taken."""
    await stored_before(world, unreadable("5 parsecs"))
    ref = world.ref("ScheduleTrigger", "old")
    await world.client.patch(ref, {"metadata": {"labels": {"a": "b"}}})
    told = await world.client.patch(ref, {"status": {"state": "WrongConfig"}}, subresource="status", strict=True)
    assert (told["metadata"]["labels"], told["status"]["state"]) == ({"a": "b"}, "WrongConfig")
    with pytest.raises(ApiInvalid, match="write numbers with units"):
        await world.client.patch(ref, {"spec": {"schedule": {"interval": "6 parsecs"}}})
    repaired = await world.client.patch(ref, {"spec": {"schedule": {"interval": "1h"}}})
    assert repaired["spec"]["schedule"] == {"interval": "1h"}


async def test_a_stored_object_that_became_invalid_can_be_deleted(world: World):
    """The finalizer that v0.4 put on it can be removed."""
    await stored_before(world, unreadable("5 parsecs"))
    ref = world.ref("ScheduleTrigger", "old")
    await world.client.delete(ref)
    await world.client.patch(ref, [{"op": "remove", "path": "/metadata/finalizers/0"}])
    with pytest.raises(ApiNotFound):
        await world.client.get(ref)
