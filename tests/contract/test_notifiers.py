"""The status of a Notifier, against both API servers: cancelled runs are kept, and never by an old version."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiConflict
from git_events_runner.flow.notifications.cancellations import Cancellations
from git_events_runner.resources.notifiers import CANCELLED_MAX
from git_events_runner.rules.notifications.cancelled import cancelled, record_of, records_of, report_from
from tests.rules.notifications.samples import run

NOW = datetime(2026, 5, 6, 7, tzinfo=UTC)
SPEC = {"type": "webhook", "address": "https://receiver.example/hook", "secretRef": {"name": "key"}}
STATUS = {"forge": "gitea", "apiUrl": "https://git.example"}


class Leader:
    """A replica's view of one Notifier."""

    def __init__(self, client, obj):
        self.store, self._ref = Store(), None
        StoreWriter(self.store, obj["kind"]).replace([obj], version=obj["metadata"]["resourceVersion"])
        [self._found] = self.store.all(obj["kind"])
        self.records = Cancellations(api=client, store=self.store, request_timeout_s=5.0, now=lambda: NOW, weight=equal)

    async def record(self, job_uid):
        report = cancelled(run(job_uid=job_uid), "Superseded", NOW)
        await self.records.record(self.store.get(self._found.ref), report)
        return report

    def sent(self, job_uid):
        self.records.sent(self.store.get(self._found.ref), job_uid, "Cancelled")


@pytest.fixture(params=["Notifier", "ClusterNotifier"])
async def notifier(request, world):
    name = f"{world.namespace}-one"
    found = await world.create({"kind": request.param, "metadata": {"name": name}, "spec": SPEC})
    yield found
    await world.client.delete(world.ref(request.param, name))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"address": "https://receiver.example:99999/x"}, "write an address as"),
        ({"address": "https://user@receiver.example/"}, "write an address as"),
        ({"logLines": 51}, "logLines"),
        ({"type": "commit-status", "address": None, "commitStatus": STATUS, "logLines": 5}, "no room for the log"),
        (
            {"type": "commit-status", "address": None, "commitStatus": STATUS | {"hosts": ["https://x/"]}},
            "a host alone",
        ),
    ],
)
async def test_a_spec_that_cannot_work_is_refused_with_what_to_write(world, spec, message):
    """As the model of the controller refuses it."""
    given = {name: value for name, value in (SPEC | spec).items() if value is not None}
    with pytest.raises(Exception, match=message):
        await world.create({"kind": "Notifier", "metadata": {"name": "wrong"}, "spec": given})


async def test_a_record_is_read_back_as_it_was_written(world, notifier):
    """Every field has a schema; what was sent is recorded with the next one."""
    leader = Leader(world.client, notifier)
    report = await leader.record("job-1")
    leader.sent("job-1")
    await leader.record("job-2")
    held = await world.client.get(world.ref(notifier["kind"], notifier["metadata"]["name"]))
    records = records_of(held["status"])
    assert [(uid, one.get("mark")) for uid, one in records.items()] == [("job-1", "Cancelled"), ("job-2", None)]
    assert report_from(records["job-1"]) == report


async def test_a_record_of_an_old_version_is_refused_and_then_added(world, notifier):
    """A new leader whose cache is old does not remove what the former one recorded."""
    former, new = Leader(world.client, notifier), Leader(world.client, notifier)
    await former.record("job-1")
    with pytest.raises(ApiConflict):
        await new.record("job-2")
    held = await world.client.get(world.ref(notifier["kind"], notifier["metadata"]["name"]))
    new.store.observe(held)
    await new.record("job-2")
    held = await world.client.get(world.ref(notifier["kind"], notifier["metadata"]["name"]))
    assert list(records_of(held["status"])) == ["job-1", "job-2"]


async def test_the_most_records_are_accepted_and_no_more(world, notifier):
    """Each with the longest address of a repository."""
    ref = world.ref(notifier["kind"], notifier["metadata"]["name"])
    record = record_of(cancelled(run(repo_uri="https://git.example/" + "a" * 1900), "Replaced", NOW))
    most = [record | {"jobUid": str(number)} for number in range(CANCELLED_MAX)]
    held = await world.client.patch(ref, {"status": {"cancelled": most}}, subresource="status", strict=True)
    assert len(held["status"]["cancelled"]) == CANCELLED_MAX
    with pytest.raises(Exception, match="cancelled"):
        await world.client.patch(ref, {"status": {"cancelled": [*most, record]}}, subresource="status", strict=True)
