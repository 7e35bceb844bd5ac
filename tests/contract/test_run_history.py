"""The history of runs and `spec.retry`, as an API server takes them."""

import asyncio
from datetime import UTC, datetime

import pytest

from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiInvalid
from git_events_runner.rules.ledger.mutations import Settle
from git_events_runner.telemetry.metrics import Metrics
from tests.flow.world import status_writer

from .conftest import World
from .examples import TRIGGER

NOW = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)


def settle(source, number):
    record = {"number": number, "source": source, "job": f"{source}-{number}", "phase": "Running", "commit": "c" * 12}
    return Settle(
        source=source,
        number=number,
        commit="c" * 40,
        file_hash=None,
        request=None,
        answered_at=None,
        job=f"{source}-{number}",
        phase="Running",
        changed="2026-05-06T07:00:00Z",
        record=record | {"queued": f"2026-05-06T07:00:{number:02}Z", "attempt": "2/4", "exitCode": 3},
    )


async def test_two_replicas_that_settle_at_the_same_time_lose_no_record(world: World):
    """Each inserts its runs into the list; the server keeps both, and every field of a record."""
    made = await world.create(TRIGGER)
    ref, uid = world.ref("ScheduleTrigger", "x"), made["metadata"]["uid"]

    def writer():
        return status_writer(world.client, Store(), Metrics(prefix="x"), gather_s=0.0)

    writers = {"app": writer(), "lib": writer()}
    tasks = [asyncio.ensure_future(one.run()) for one in writers.values()]
    try:
        for number in (1, 2, 3):
            await asyncio.gather(*(one.write(ref, uid, settle(source, number)) for source, one in writers.items()))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    history = (await world.client.get(ref))["status"]["history"]
    assert sorted(record["job"] for record in history) == sorted(f"{s}-{n}" for s in writers for n in (1, 2, 3))
    assert [record["number"] for record in history] == [3, 3, 2, 2, 1, 1]
    assert (history[0]["exitCode"], history[0]["attempt"]) == (3, "2/4")


@pytest.mark.parametrize("name", ["on", "true"])
async def test_on_is_stored_with_quotes_and_without(world: World, name: str):
    """YAML 1.1 reads a plain `on` as `true`."""
    retry = {"limit": 2, "backoff": "30s", name: ["CloneFailed"]}
    made = await world.create({**TRIGGER, "spec": TRIGGER["spec"] | {"retry": retry}})
    assert made["spec"]["retry"] == retry


@pytest.mark.parametrize(
    ("retry", "message"),
    [
        ({"on": ["Failed"], "true": ["Failed"]}, "given twice"),
        ({"backoff": "5"}, "units"),
        ({"backoff": "0s"}, "units"),
        ({"limit": 101}, "100"),
        ({"on": ["Expired"]}, "Failed"),
    ],
)
async def test_a_wrong_retry_is_refused_with_its_field(world: World, retry, message):
    """The server names the field and what to write."""
    with pytest.raises(ApiInvalid) as caught:
        await world.create({**TRIGGER, "spec": TRIGGER["spec"] | {"retry": retry}})
    assert "spec.retry" in str(caught.value)
    assert message in str(caught.value)
