"""JSON Patch with tests and merge patch, as the status writer and the queue send them."""

import pytest

from git_events_runner.errors import ApiConflict, ApiInvalid, ApiNotFound

from .conftest import World
from .examples import CONFIG, ENTRY, JOB, TRIGGER

ENTRY_PATH = "/status/checkedSources/app"


@pytest.fixture
async def counted(world: World) -> World:
    """A trigger `x` with one settled source."""
    await world.create(TRIGGER)
    status = {"checkedSources": {"app": ENTRY}}
    await world.client.patch(world.ref("ScheduleTrigger", "x"), {"status": status}, subresource="status")
    return world


async def test_tests_hold(counted: World):
    """A patch whose tests hold is applied as a whole."""
    ref = counted.ref("ScheduleTrigger", "x")
    uid = (await counted.client.get(ref))["metadata"]["uid"]
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": f"{ENTRY_PATH}/runs", "value": 1},
        {"op": "add", "path": f"{ENTRY_PATH}/runs", "value": 2},
        {"op": "add", "path": f"{ENTRY_PATH}/answeredAt", "value": "2026-01-01T00:00:00Z"},
        {"op": "remove", "path": f"{ENTRY_PATH}/handled"},
        {"op": "replace", "path": f"{ENTRY_PATH}/requested", "value": 3},
    ]
    made = await counted.client.patch(ref, patch, subresource="status", strict=True, timeout_s=5)
    entry = {**ENTRY, "runs": 2, "answeredAt": "2026-01-01T00:00:00Z", "requested": 3}
    del entry["handled"]
    assert made["status"]["checkedSources"]["app"] == entry


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": f"{ENTRY_PATH}/runs", "value": 7},
        {"op": "test", "path": f"{ENTRY_PATH}/absent", "value": 7},
        {"op": "test", "path": "/status/checkedSources/other/runs", "value": 1},
        {"op": "remove", "path": f"{ENTRY_PATH}/absent"},
        {"op": "replace", "path": "/status/absent/field", "value": "x"},
        {"op": "add", "path": "/status/absent/field", "value": 1},
    ],
)
async def test_what_does_not_apply(counted: World, operation: dict):
    """A failed test or a path that is not there is 422 Invalid, and no operation of the patch is applied."""
    ref = counted.ref("ScheduleTrigger", "x")
    before = await counted.client.get(ref)
    patch = [{"op": "add", "path": "/status/state", "value": "Idle"}, operation]
    with pytest.raises(ApiInvalid) as caught:
        await counted.client.patch(ref, patch, subresource="status", strict=True)
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")
    assert await counted.client.get(ref) == before


async def test_replace_of_an_absent_name(counted: World):
    """Replacing a field that the object does not have adds it, other than RFC 6902 says."""
    patch = [{"op": "replace", "path": f"{ENTRY_PATH}/fileHash", "value": "x"}]
    made = await counted.client.patch(counted.ref("ScheduleTrigger", "x"), patch, subresource="status")
    assert made["status"]["checkedSources"]["app"]["fileHash"] == "x"


async def test_escaped_names(counted: World):
    """`~1` in a path stands for `/`."""
    ref = counted.ref("ScheduleTrigger", "x")
    patch = [{"op": "add", "path": "/metadata/annotations", "value": {"a/b": "1"}}]
    await counted.client.patch(ref, patch)
    patch = [
        {"op": "test", "path": "/metadata/annotations/a~1b", "value": "1"},
        {"op": "remove", "path": "/metadata/annotations/a~1b"},
    ]
    made = await counted.client.patch(ref, patch)
    assert not made["metadata"].get("annotations")


async def test_result_must_be_valid(counted: World):
    """A patch that leads to an object which does not fit its kind is 422 naming the field."""
    ref = counted.ref("ScheduleTrigger", "x")
    patch = [{"op": "add", "path": f"{ENTRY_PATH}/runs", "value": "many"}]
    with pytest.raises(ApiInvalid, match="runs") as caught:
        await counted.client.patch(ref, patch, subresource="status", strict=True)
    assert caught.value.status == 422


async def test_patch_of_nothing(world: World):
    """A patch of an object that is not there is 404."""
    with pytest.raises(ApiNotFound):
        await world.client.patch(world.ref("ScheduleTrigger", "x"), [{"op": "test", "path": "/kind", "value": "x"}])


async def test_a_test_of_what_is_absent(world: World):
    """Null is what an absent name has; any other value is 422."""
    made = await world.create(CONFIG | {"metadata": {"annotations": {"x/run": "1"}}})
    ref, path = world.ref("ConfigMap", made["metadata"]["name"]), "/metadata/annotations/x~1admission"
    test, add = {"op": "test", "path": path, "value": None}, {"op": "add", "path": path, "value": "admitted"}
    changed = await world.client.patch(ref, [test, add])
    assert changed["metadata"]["annotations"] == {"x/run": "1", "x/admission": "admitted"}
    with pytest.raises(ApiInvalid):
        await world.client.patch(ref, [test, add])
    with pytest.raises(ApiInvalid):
        await world.client.patch(ref, [{**test, "value": "waiting"}, add])


async def test_merge_patch(world: World):
    """A merge patch merges objects, and null removes."""
    await world.create(CONFIG)
    made = await world.client.patch(world.ref("ConfigMap", "x"), {"data": {"b": "2", "a": None}})
    assert made["data"] == {"b": "2"}


async def test_merge_patch_with_a_version(world: World):
    """A merge patch naming an old resource version is 409."""
    made = await world.create(CONFIG)
    ref = world.ref("ConfigMap", "x")
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"b": "2"}}
    await world.client.patch(ref, patch)
    with pytest.raises(ApiConflict):
        await world.client.patch(ref, {**patch, "data": {"b": "3"}})


async def test_job_is_admitted(world: World):
    """A suspended Job has no start time; unsuspending and giving it a TTL are allowed."""
    made = await world.create(JOB)
    assert "startTime" not in made.get("status", {})
    ref = world.ref("Job", "x")
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]},
        {"op": "test", "path": "/spec/suspend", "value": True},
        {"op": "replace", "path": "/spec/suspend", "value": False},
        {"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 60},
    ]
    admitted = await world.client.patch(ref, patch, strict=True)
    assert admitted["spec"]["suspend"] is False
    assert admitted["metadata"]["generation"] == 2


async def test_a_job_that_was_started_is_not_admitted(world: World):
    """The status of the object may be tested in a patch of its spec: no start, or 422."""
    await world.create(JOB)
    ref = world.ref("Job", "x")
    test = {"op": "test", "path": "/status/startTime", "value": None}
    patch = [test, {"op": "replace", "path": "/spec/suspend", "value": False}]
    assert (await world.client.patch(ref, patch))["spec"]["suspend"] is False
    started = {"status": {"startTime": "2026-05-06T07:08:09Z"}}
    await world.client.patch(ref, started, subresource="status")
    await world.client.patch(ref, {"spec": {"suspend": True}})
    with pytest.raises(ApiInvalid):
        await world.client.patch(ref, patch)


async def test_job_template_stays(world: World):
    """What a Job's pods are made from cannot change: 422 naming spec.template."""
    await world.create(JOB)
    path = "/spec/template/spec/containers/0/image"
    with pytest.raises(ApiInvalid, match=r"spec\.template") as caught:
        await world.client.patch(world.ref("Job", "x"), [{"op": "replace", "path": path, "value": "other"}])
    assert caught.value.status == 422


async def test_job_conditions(world: World):
    """A Job becomes Complete only with the criteria met, start and completion time, and cannot go back."""
    await world.create({**JOB, "spec": {**JOB["spec"], "suspend": False}})
    ref, moment = world.ref("Job", "x"), "2026-01-01T00:00:00Z"

    def condition(type_: str) -> dict:
        return {"type": type_, "status": "True", "lastProbeTime": moment, "lastTransitionTime": moment}

    done = {"startTime": moment, "completionTime": moment, "succeeded": 1}
    patch = {"status": {**done, "conditions": [condition("Complete")]}}
    with pytest.raises(ApiInvalid, match="SuccessCriteriaMet"):
        await world.client.patch(ref, patch, subresource="status")
    both = [condition("SuccessCriteriaMet"), condition("Complete")]
    made = await world.client.patch(ref, {"status": {**done, "conditions": both}}, subresource="status")
    assert made["status"]["succeeded"] == 1
    with pytest.raises(ApiInvalid, match="conditions"):
        await world.client.patch(ref, {"status": {"conditions": [both[0]]}}, subresource="status")


async def test_conditions_are_compared_whole(counted: World):
    """As they were read they hold, in any order of their fields; after another's write they do not."""
    ref = counted.ref("ScheduleTrigger", "x")
    ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "watching", "observedGeneration": 1}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    first = await counted.client.patch(ref, {"status": {"conditions": [ready]}}, subresource="status")
    read = [dict(reversed(condition.items())) for condition in first["status"]["conditions"]]
    changed = [ready | {"message": "else"}]
    patch = [
        {"op": "test", "path": "/status/conditions", "value": read},
        {"op": "add", "path": "/status/conditions", "value": changed},
    ]
    made = await counted.client.patch(ref, patch, subresource="status", strict=True)
    assert made["status"]["conditions"] == changed
    with pytest.raises(ApiInvalid):
        await counted.client.patch(ref, patch, subresource="status", strict=True)
