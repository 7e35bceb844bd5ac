"""Creations and updates: what is stored, what is refused, and how."""

import asyncio
import copy

import pytest

from git_events_runner.errors import (
    ApiAlreadyExists,
    ApiConflict,
    ApiError,
    ApiForbidden,
    ApiInvalid,
    ApiNotFound,
)
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

from .conftest import World
from .examples import CONFIG, ENTRY, JOB, LEASE, TRIGGER


async def test_create_sets_metadata(world: World):
    """A created object has uid, creation time, generation 1, a number as version, and no status."""
    made = await world.create({**TRIGGER, "status": {"state": "Idle"}})
    metadata = made["metadata"]
    assert metadata["generation"] == 1
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert "status" not in made
    assert await world.client.get(world.ref("ScheduleTrigger", "x")) == made


async def test_defaults_come_from_the_models(world: World):
    """Defaults of the CRD are set at creation."""
    made = await world.create(TRIGGER)
    assert made["spec"]["sources"]["kind"] == "GitRepo"
    assert made["spec"]["sources"]["watchOn"]["onChangeOnly"] is True


async def test_name_taken(world: World):
    """Creating an object twice is 409 AlreadyExists."""
    await world.create(JOB)
    with pytest.raises(ApiAlreadyExists) as caught:
        await world.create(JOB)
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


async def test_generate_name(world: World):
    """A name is made of the prefix in generateName."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-", "namespace": world.namespace}}
    made = await world.client.create(KINDS["ConfigMap"], obj)
    assert made["metadata"]["name"].startswith("g-")
    assert len(made["metadata"]["name"]) > 2


@pytest.mark.parametrize("name", ["Upper", "a_b", "-x", "x" * 254])
async def test_wrong_names(world: World, name: str):
    """Names that are no DNS subdomains are 422 naming the field."""
    with pytest.raises(ApiInvalid, match=r"metadata\.name") as caught:
        await world.create({**CONFIG, "metadata": {"name": name}})
    assert caught.value.status == 422


async def test_no_such_namespace(world: World):
    """Creating in a namespace that is not there is 404."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "not-there"}}
    with pytest.raises(ApiNotFound):
        await world.client.create(KINDS["ConfigMap"], obj)


async def test_terminating_namespace(world: World):
    """Creating in a namespace that is being deleted is 403 with the cause NamespaceTerminating."""
    name = f"{world.namespace}-end"
    await world.client.create(KINDS["Namespace"], {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    held = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "h", "namespace": name, "finalizers": ["a/b"]},
    }
    await world.client.create(KINDS["ConfigMap"], held)
    await world.client.delete(Ref("Namespace", None, name))
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": name}}
    with pytest.raises(ApiForbidden) as caught:
        await world.client.create(KINDS["ConfigMap"], obj)
    assert caught.value.namespace_terminating
    await world.client.patch(Ref("ConfigMap", name, "h"), {"metadata": {"finalizers": None}})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sources": {"names": "app"}}, "spec.sources.names"),
        ({"sources": {"kind": "Other", "names": ["app"]}}, "spec.sources.kind"),
        ({"action": {"kind": "Action"}}, "spec.action.name"),
        ({"schedule": {"interval": "1h", "cron": "* * * * *"}}, "spec.schedule"),
        ({"schedule": {}}, "spec.schedule"),
    ],
)
async def test_schema_violations(world: World, change: dict, field: str):
    """An object that does not fit the CRD is 422 Invalid, and the message names the field."""
    with pytest.raises(ApiInvalid, match=field.replace(".", r"\.")) as caught:
        await world.create({**TRIGGER, "spec": {**TRIGGER["spec"], **change}})
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")
    assert caught.value.causes


async def test_unknown_fields_are_pruned(world: World):
    """Without fieldValidation=Strict, unknown fields of a custom resource vanish."""
    made = await world.create({**TRIGGER, "spec": {**TRIGGER["spec"], "unknown": 1}}, strict=False)
    assert "unknown" not in made["spec"]


async def test_strict_refuses_unknown_fields(world: World):
    """fieldValidation=Strict makes an unknown field 400, for custom resources and Jobs."""
    wrong_job = copy.deepcopy(JOB)
    wrong_job["spec"]["template"]["spec"]["unknown"] = 1
    for wrong in ({**TRIGGER, "spec": {**TRIGGER["spec"], "unknown": 1}}, wrong_job):
        with pytest.raises(ApiInvalid, match="unknown field") as caught:
            await world.create(wrong)
        assert (caught.value.status, caught.value.reason) == (400, "BadRequest")


async def test_strict_status_patch(world: World):
    """Strict refuses an unknown status field in a patch and in a PUT of the status, and nothing is written."""
    made = await world.create(TRIGGER)
    ref = world.ref("ScheduleTrigger", "x")
    patch = [{"op": "add", "path": "/status", "value": {"unknown": 1}}]
    with pytest.raises(ApiInvalid, match="unknown field") as caught:
        await world.client.patch(ref, patch, subresource="status", strict=True)
    assert caught.value.status in {400, 422}
    wrong = {**made, "status": {"unknown": 1}}
    with pytest.raises(ApiInvalid, match="unknown field"):
        await world.client.replace(KINDS["ScheduleTrigger"], wrong, subresource="status", strict=True)
    assert await world.client.get(ref) == made


async def test_put_is_compare_and_swap(world: World):
    """A PUT with an old resource version is 409 Conflict; with the current one it is written."""
    made = await world.create(CONFIG)
    second = await world.client.replace(KINDS["ConfigMap"], {**made, "data": {"a": "2"}}, strict=True)
    assert int(second["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    with pytest.raises(ApiConflict) as caught:
        await world.client.replace(KINDS["ConfigMap"], {**made, "data": {"a": "3"}})
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")


@pytest.mark.parametrize("obj", [TRIGGER, LEASE])
async def test_put_needs_a_version(world: World, obj: dict):
    """A PUT of a custom resource or a Lease without a resource version is 422."""
    made = await world.create(obj)
    del made["metadata"]["resourceVersion"]
    with pytest.raises(ApiInvalid, match="must be specified for an update") as caught:
        await world.client.replace(KINDS[obj["kind"]], made)
    assert caught.value.status == 422


async def test_put_of_another_uid(world: World):
    """A PUT with another object's uid is 409."""
    made = await world.create(TRIGGER)
    made["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(ApiConflict):
        await world.client.replace(KINDS["ScheduleTrigger"], made, subresource="status")


async def test_put_of_nothing(world: World):
    """A PUT of a custom resource that is not there is 404."""
    made = await world.create(TRIGGER)
    await world.client.delete(world.ref("ScheduleTrigger", "x"))
    with pytest.raises(ApiNotFound):
        await world.client.replace(KINDS["ScheduleTrigger"], made)


async def test_identical_writes_make_no_version(world: World):
    """A PUT or patch that changes nothing gives no new resource version."""
    made = await world.create(TRIGGER)
    ref = world.ref("ScheduleTrigger", "x")
    first = await world.client.patch(ref, {"status": {"state": "Idle"}}, subresource="status")
    again = await world.client.patch(ref, {"status": {"state": "Idle"}}, subresource="status")
    put = await world.client.replace(KINDS["ScheduleTrigger"], first, subresource="status", strict=True)
    versions = {one["metadata"]["resourceVersion"] for one in (first, again, put)}
    assert len(versions) == 1
    assert made["metadata"]["resourceVersion"] not in versions


async def test_a_status_is_put_without_its_spec(world: World):
    """The spec, and what metadata was left out, stay as they are."""
    made = await world.create({**TRIGGER, "metadata": {"name": "x", "labels": {"a": "b"}}})
    metadata = {key: made["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    lean = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": metadata, "status": {"state": "Idle"}}
    put = await world.client.replace(KINDS["ScheduleTrigger"], lean, subresource="status", strict=True)
    assert (put["spec"], put["status"]) == (made["spec"], {"state": "Idle"})
    assert put["metadata"]["labels"] == {"a": "b"}
    assert put["metadata"]["generation"] == made["metadata"]["generation"]


async def test_status_and_spec_are_apart(world: World):
    """A write of the object leaves the status, a write of the status the rest; only the spec counts generations."""
    made = await world.create(TRIGGER)
    kind, ref = KINDS["ScheduleTrigger"], world.ref("ScheduleTrigger", "x")
    put = {**made, "spec": {**made["spec"], "schedule": {"interval": "2h"}}, "status": {"state": "Idle"}}
    second = await world.client.replace(kind, put, subresource="status")
    assert second["spec"] == made["spec"]
    assert second["status"] == {"state": "Idle"}
    assert second["metadata"]["generation"] == 1
    third = await world.client.replace(kind, {**second, "spec": put["spec"], "status": {"state": "Running"}})
    assert third["spec"]["schedule"] == {"interval": "2h"}
    assert third["status"] == {"state": "Idle"}
    assert third["metadata"]["generation"] == 2
    labelled = await world.client.patch(ref, {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 2


async def test_finalizers_hold_an_object(world: World):
    """Deleting an object with a finalizer marks it; it goes when the last finalizer does."""
    await world.create({**TRIGGER, "metadata": {"finalizers": ["scheduletriggers.git-events-runner.rs/x"]}})
    ref = world.ref("ScheduleTrigger", "x")
    await world.client.delete(ref)
    held = await world.client.get(ref)
    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(ApiAlreadyExists):
        await world.create(TRIGGER)
    with pytest.raises(ApiInvalid):
        await world.client.patch(ref, {"metadata": {"finalizers": ["a/b", "scheduletriggers.git-events-runner.rs/x"]}})
    await world.client.patch(ref, {"metadata": {"finalizers": None}})
    with pytest.raises(ApiNotFound):
        await world.client.get(ref)


async def test_delete_preconditions(world: World):
    """DELETE with another uid or an old version is 409 and deletes nothing."""
    made = await world.create(JOB)
    ref = world.ref("Job", "x")
    with pytest.raises(ApiConflict):
        await world.client.delete(ref, uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(ApiConflict):
        await world.client.delete(ref, resource_version="1")
    metadata = made["metadata"]
    await world.client.delete(ref, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
    with pytest.raises(ApiNotFound):
        await world.client.delete(ref)


async def test_secret_text(world: World):
    """Texts in stringData are stored as data, base64."""
    made = await world.create({"kind": "Secret", "type": "Opaque", "stringData": {"token": "hush"}})
    assert made["data"] == {"token": "aHVzaA=="}
    assert "stringData" not in made


async def test_lease_is_compare_and_swap(world: World):
    """Two writers of a Lease with the same version: one of them gets 409."""
    made = await world.create(LEASE)
    body = {**made, "spec": {**made["spec"], "renewTime": "2026-01-01T00:00:00.000000Z"}}
    other = {**body, "spec": {**body["spec"], "holderIdentity": "you"}}
    writes = [world.client.replace(KINDS["Lease"], one, timeout_s=5) for one in (body, other)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sorted(isinstance(one, ApiConflict) for one in results) == [False, True]


async def test_unknown_subresource(world: World):
    """A status that a kind does not have is 404."""
    await world.create(CONFIG)
    with pytest.raises(ApiError) as caught:
        await world.client.patch(world.ref("ConfigMap", "x"), {"status": {}}, subresource="status")
    assert caught.value.status == 404


async def test_annotations_are_limited(world: World):
    """Annotations over 256 KiB are 422."""
    with pytest.raises(ApiInvalid, match=r"metadata\.annotations"):
        await world.create({**CONFIG, "metadata": {"annotations": {"a": "x" * 262145}}})


async def test_event_is_taken(world: World):
    """An Event as events.k8s.io/v1 wants it is stored; one without a reason is 422."""
    event = {
        "kind": "Event",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "git-events-runner.rs/controller",
        "reportingInstance": "me",
        "action": "Check",
        "reason": "Stalled",
        "type": "Warning",
        "note": "text",
        "regarding": {"kind": "ScheduleTrigger", "namespace": world.namespace, "name": "x"},
    }
    await world.create(event)
    with pytest.raises(ApiInvalid, match="reason"):
        await world.create({**event, "metadata": {"name": "y"}, "reason": ""})


async def test_status_entry_round_trip(world: World):
    """Everything that the ledger writes into a status comes back unchanged under Strict."""
    await world.create(TRIGGER)
    status = {"checkedSources": {"app": ENTRY}, "lastRunNumber": 1, "deliveries": "x"}
    ref = world.ref("ScheduleTrigger", "x")
    made = await world.client.patch(
        ref, [{"op": "add", "path": "/status", "value": status}], subresource="status", strict=True
    )
    assert made["status"] == status


@pytest.mark.parametrize("obj", [LEASE, {"kind": "Secret", "type": "Opaque", "data": {"token": "aHVzaA=="}}])
async def test_who_comes_second(world: World, obj: dict):
    """A Lease or a Secret's copy that another replica has just made is 409 AlreadyExists, and can be read."""
    with pytest.raises(ApiNotFound):
        await world.client.get(world.ref(obj["kind"], "x"))
    made = await world.create(obj)
    with pytest.raises(ApiAlreadyExists):
        await world.create(obj)
    assert await world.client.get(world.ref(obj["kind"], "x")) == made


async def test_a_secret_has_its_owner(world: World):
    """A Secret owned by a Job is stored with its owner."""
    job = await world.create(JOB)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": job["metadata"]["uid"], "controller": True}
    made = await world.create({"kind": "Secret", "metadata": {"ownerReferences": [owner]}, "data": {}})
    assert made["metadata"]["ownerReferences"] == [owner]


async def test_lease_vanished(world: World):
    """A PUT of a Lease that was deleted meanwhile is refused; nothing comes back."""
    made = await world.create(LEASE)
    await world.client.delete(world.ref("Lease", "x"))
    with pytest.raises((ApiConflict, ApiInvalid, ApiNotFound)):
        await world.client.replace(KINDS["Lease"], made)
    with pytest.raises(ApiNotFound):
        await world.client.get(world.ref("Lease", "x"))


async def test_not_allowed(world: World):
    """What a role does not allow is 403 Forbidden, and says who may not do what."""
    with pytest.raises(ApiForbidden, match="cannot get resource") as caught:
        await world.stranger().get(world.ref("Secret", "x"))
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
    assert not caught.value.namespace_terminating


async def test_quota(world: World):
    """A Job over a quota is 403 Forbidden with the words by which it is known: exceeded quota."""
    await world.limit_jobs()
    with pytest.raises(ApiForbidden, match="exceeded quota") as caught:
        await world.create(JOB)
    assert caught.value.reason == "Forbidden"
    with pytest.raises(ApiNotFound):
        await world.client.get(world.ref("Job", "x"))


async def test_event_series(world: World):
    """An Event told again becomes a series by merge patch; of one that is gone that is 404."""
    event = {
        "kind": "Event",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "git-events-runner.rs/controller",
        "reportingInstance": "me",
        "action": "Check",
        "reason": "Stalled",
        "type": "Warning",
        "regarding": {"kind": "ScheduleTrigger", "namespace": world.namespace, "name": "x"},
    }
    await world.create(event)
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}}
    made = await world.client.patch(world.ref("Event", "x"), series, timeout_s=5)
    assert made["series"]["count"] == 2
    with pytest.raises(ApiNotFound):
        await world.client.patch(world.ref("Event", "y"), series, timeout_s=5)


async def test_finalizer_is_taken_off(world: World):
    """The original's finalizer goes by a JSON Patch that tests for it; a second one that comes late is 422."""
    await world.create({**TRIGGER, "metadata": {"finalizers": ["scheduletriggers.git-events-runner.rs"]}})
    patch = [
        {"op": "test", "path": "/metadata/finalizers/0", "value": "scheduletriggers.git-events-runner.rs"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]
    ref = world.ref("ScheduleTrigger", "x")
    made = await world.client.patch(ref, patch)
    assert not made["metadata"].get("finalizers")
    with pytest.raises(ApiInvalid) as caught:
        await world.client.patch(ref, patch)
    assert caught.value.status == 422


async def test_job_is_deleted(world: World):
    """A Job goes with its uid as the only precondition, at once, in the background; then it is 404."""
    made = await world.create(JOB)
    ref = world.ref("Job", "x")
    await world.client.delete(ref, uid=made["metadata"]["uid"])
    with pytest.raises(ApiNotFound):
        await world.client.delete(ref, uid=made["metadata"]["uid"])
    again = await world.create(JOB)
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    with pytest.raises(ApiConflict):
        await world.client.delete(ref, uid=made["metadata"]["uid"])


async def test_job_gets_its_time_to_live(world: World):
    """A merge patch gives a Job a time to live without touching the rest; Job status cannot be written with it."""
    made = await world.create({**JOB, "spec": {**JOB["spec"], "suspend": False}})
    body = {"spec": {"ttlSecondsAfterFinished": 5}, "status": {"succeeded": 1}}
    patched = await world.client.patch(world.ref("Job", "x"), body, timeout_s=5)
    assert patched["spec"] == {**made["spec"], "ttlSecondsAfterFinished": 5}
    assert "succeeded" not in patched.get("status", {})
