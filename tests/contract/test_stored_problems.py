"""Problems in stored statuses: those of the version before are taken over, with a real writer on both API servers."""

import asyncio
from datetime import UTC, datetime

import pytest

from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiInvalid
from git_events_runner.rules.derived_conditions import conditions_of
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.mutations import Count, Outcome, rfc3339
from git_events_runner.rules.ledger.report import CloneReport, Problem, Report, Warn
from git_events_runner.telemetry.metrics import Metrics
from tests.flow.world import status_writer
from tests.rules.previous_reports import previous_report

from .conftest import World
from .examples import ENTRY, TRIGGER

SLOW = Problem(reason="Timeout", message="no answer in 20 s")
AT = "2026-05-06T07:08:09Z"


async def write(world: World, trigger, *mutations):
    """Write them by a process of this version; their outcomes, and the status that is stored then."""
    ref, store = world.ref("ScheduleTrigger", "x"), Store()
    store.observe(trigger | {"kind": "ScheduleTrigger"})
    writer = status_writer(world.client, store, Metrics(prefix="x"), gather_s=0.0)
    running = asyncio.ensure_future(writer.run())
    try:
        async with asyncio.timeout(20):
            outcomes = await writer.write(ref, trigger["metadata"]["uid"], *mutations)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return outcomes, (await world.client.get(ref))["status"]


def report(source, problem):
    return Report(source=source, problem=problem, generation=1, now=rfc3339(datetime.now(UTC)))


async def two_sources(world: World):
    """A trigger of two sources, with the status of the version before: one of them fails."""
    spec = TRIGGER["spec"] | {"sources": TRIGGER["spec"]["sources"] | {"names": ["app", "lib"]}}
    await world.create(TRIGGER | {"spec": spec})
    status = previous_report({"checkedSources": {"app": ENTRY, "lib": ENTRY}}, "app", SLOW, now=AT)
    status = previous_report(status, "lib", None, now=AT)
    return await world.client.patch(world.ref("ScheduleTrigger", "x"), {"status": status}, subresource="status")


async def test_the_status_of_the_version_before_is_rewritten_at_the_next_change(world: World):
    """What changes nothing writes nothing; the problem stays until its source was checked, then it is over."""
    trigger = await two_sources(world)
    outcomes, status = await write(world, trigger, Report(source=None, problem=None, generation=1, now=AT))
    assert (outcomes, status) == ([Outcome.DONE], trigger["status"])
    outcomes, status = await write(world, trigger, report("lib", None))
    assert (outcomes, conditions_of(status)["Ready"]["status"]) == ([Outcome.WRITE], "False")
    assert status["problems"]["earlier"]["sources"] == ["app"]
    current = await world.client.get(world.ref("ScheduleTrigger", "x"))
    _, status = await write(world, current, report("app", None))
    assert (conditions_of(status)["Ready"]["status"], "problems" in status) == ("True", False)
    assert {name: entry["runs"] for name, entry in status["checkedSources"].items()} == {"app": 1, "lib": 1}


async def test_what_both_versions_write_in_turn_loses_no_problem(world: World):
    """The version before keeps what it does not know, and its own report counts until the source was checked."""
    trigger, ref = await two_sources(world), world.ref("ScheduleTrigger", "x")
    _, status = await write(world, trigger, report("app", SLOW), report("lib", None))
    assert status["checkedSources"]["app"]["problem"]["reason"] == "Timeout"
    old = previous_report(status, "lib", SLOW, now=AT)
    current = await world.client.patch(ref, {"status": old}, subresource="status")
    assert current["status"]["checkedSources"]["app"]["problem"] == status["checkedSources"]["app"]["problem"]
    _, status = await write(world, current, report("app", None))
    assert conditions_of(status)["Ready"]["status"] == "False"
    current = await world.client.get(ref)
    _, status = await write(world, current, report("lib", None))
    assert conditions_of(status)["Ready"]["status"] == "True"


async def test_every_field_of_problems_and_warnings_is_stored(world: World):
    """Patches and whole writes with strict validation keep each of them, at its longest."""
    trigger, long = await two_sources(world), "m" * 2000
    warn = Warn(reason="FilesSelectNothing", source="app", message=long, generation=1)
    trouble = Problem(reason="R" * 64, message=long, stalled=True)
    parts = [Report(source=None, part=part, problem=trouble, generation=1, now=AT) for part in ("trigger", "webhook")]
    _, status = await write(world, trigger, *parts, report("app", trouble), warn)
    assert [len(status["problems"][part]["message"]) for part in ("trigger", "webhook")] == [600, 600]
    assert status["warnings"][0] | {"message": ""} == {
        "reason": "FilesSelectNothing",
        "message": "",
        "source": "app",
        "observedGeneration": 1,
    }
    ref = world.ref("ScheduleTrigger", "x")
    last = {"name": "j", "phase": "Failed", "commit": ENTRY["commitHash"]}
    patch = {"status": {"checkedSources": {"app": {"lastJob": last}}}}
    current = await world.client.patch(ref, patch, subresource="status")
    clones = CloneReport(exits={"app": ("j", 3)}, generation=1, now=AT)
    _, status = await write(world, current, clones, report("app", None))
    assert status["checkedSources"]["app"]["lastJob"] == last | {"cloneExit": 3}
    assert "problem" not in status["checkedSources"]["app"]
    assert conditions_of(status)["CloneFailed"]["reason"] == "CloneCredentialRefused"


async def test_a_problem_of_a_source_that_was_never_checked_does_not_hinder_its_count(world: World):
    """Its entry records nothing of the ledger yet; a delivery is recorded in it all the same."""
    trigger = await world.create(TRIGGER)
    _, status = await write(world, trigger, report("app", SLOW))
    assert status["checkedSources"]["app"].keys() == {"problem"}
    current = await world.client.get(world.ref("ScheduleTrigger", "x"))
    count = Count(requests={"app": None}, delivery=delivery_hash("d"), at=AT)
    outcomes, status = await write(world, current, count)
    assert (outcomes, status["checkedSources"]["app"]["requested"]) == ([Outcome.WRITE], 1)
    assert status["checkedSources"]["app"]["problem"]["reason"] == "Timeout"


@pytest.mark.parametrize(
    "status",
    [
        {"checkedSources": {"app": {"problem": {"reason": "R" * 65}}}},
        {"checkedSources": {"app": {"problem": {"reason": "R", "message": "m" * 601}}}},
        {"warnings": [{"reason": "R", "message": "m" * 601}]},
        {"problems": {"earlier": {"reason": "R", "sources": ["s" * 254]}}},
    ],
)
async def test_the_api_server_keeps_the_bounds(world: World, status):
    """What is longer than the controller ever writes is refused."""
    await world.create(TRIGGER)
    with pytest.raises(ApiInvalid):
        await world.client.patch(world.ref("ScheduleTrigger", "x"), {"status": status}, subresource="status")
