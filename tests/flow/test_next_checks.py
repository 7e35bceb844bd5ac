"""`status.nextCheck`: when the schedule checks a trigger next, written with what is written anyway."""

import pytest

from git_events_runner.flow.next_checks import NextChecks
from git_events_runner.flow.status_writer import GroupedStatusWriter
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import Touch, rfc3339
from git_events_runner.serving import running
from tests.flow.virtual import virtual
from tests.flow.world import START, Cluster, kept, recorded

REF = Ref("ScheduleTrigger", "n", "t")  # it is 07:00


def world(**spec):
    """A trigger with that spec, and what its status is to show."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger("ScheduleTrigger", "t", status=recorded(), **spec)
    return cluster, NextChecks(store=cluster.store, gate=cluster.gate, now=cluster.now)


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({"schedule": {"cron": "0 30 8 * * *"}}, "2026-05-06T08:30:00"),
        ({"schedule": {"cron": "TZ=Europe/Berlin 0 30 10 * * *"}}, "2026-05-06T08:30:00"),
        ({"schedule": {"cron": "0 */10 * * * *"}}, "2026-05-06T07:10:00"),
        ({"schedule": {"cron": "0 */5 * * * *"}}, None),
        ({"schedule": {"cron": "0 0,5 9 * * *"}}, None),
        ({"schedule": {"cron": "0 0 0 1 1 * 2020"}}, None),
        ({"schedule": {"interval": "9m"}}, None),
        ({"schedule": {"cron": "0 30 8 * * *"}, "suspend": True}, None),
        ({"schedule": {"cron": "nonsense"}}, None),
    ],
)
def test_the_next_scheduled_time_is_shown(spec, shown):
    """In UTC; of times that are less than ten minutes apart none, since a status may be as old."""

    @virtual
    async def check():
        _, checks = world(**spec)
        found = checks.of(REF)
        assert (found and found[:19]) == shown

    check()


@virtual
async def test_of_several_sources_the_first_time_counts():
    """Each has its phase in the interval; one that is not known yet has one, too."""
    cluster, checks = world(schedule={"interval": "1h"})
    alone = checks.of(REF)
    cluster.change(REF, spec={"sources": {"names": ["app", "lib", "docs"]}})
    together = checks.of(REF)
    assert rfc3339(START) < together <= alone < "2026-05-06T08:00:01"
    cluster.drop(REF)
    assert checks.of(REF) is None


@virtual
async def test_it_is_written_and_removed_with_other_fields_alone():
    """A write that changes nothing else is not sent."""
    cluster, checks = world(schedule={"cron": "0 30 8 * * *"})
    uid = cluster.objects[REF]["metadata"]["uid"]
    writer = GroupedStatusWriter(
        api=cluster,
        store=cluster.store,
        metrics=cluster.metrics,
        history_limit=kept,
        next_check=checks.of,
        gather_s=0.01,
    )
    now = rfc3339(START)
    async with running(status=writer.run()):
        await writer.write(REF, uid, Touch(at=None, answered={}, now=now))
        assert "nextCheck" not in cluster.objects[REF]["status"]
        await writer.write(REF, uid, Touch(at=now, answered={}, now=now))
        assert cluster.objects[REF]["status"]["nextCheck"].startswith("2026-05-06T08:30:00")
        cluster.change(REF, spec={"suspend": True})
        later = "2026-05-06T07:00:05Z"
        await writer.write(REF, uid, Touch(at=later, answered={}, now=later))
    assert "nextCheck" not in cluster.objects[REF]["status"]
