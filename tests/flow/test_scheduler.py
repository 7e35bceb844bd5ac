"""The scheduler: due times of live triggers, a miss made up once, clocks that are set."""

import asyncio
import itertools
from collections import Counter
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.scheduler import Scheduler
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.policy import Policy
from git_events_runner.rules.schedule.schedule import due
from git_events_runner.serving import running
from tests.flow.virtual import at, until, virtual
from tests.flow.world import START, Cluster, Fence, recorded

REF = Ref("ScheduleTrigger", "n", "every")


@asynccontextmanager
async def scheduling(cluster):
    """A scheduler that leads; what it forgets is in `cluster.forgotten`, the edits that it reports in `edits`."""
    cluster.forgotten, cluster.edits = [], []
    scheduler = Scheduler(
        store=cluster.store,
        gate=cluster.gate,
        submit=cluster.submit,
        forget=cluster.forgotten.append,
        edited=lambda *edit: cluster.edits.append(edit),
        now=cluster.now,
        weight=equal,
    )
    async with running(scheduler=scheduler.run_as_leader(Fence())):
        yield scheduler


def every(cluster, interval=None, *, cron=None, status=None, names=("app",)):
    schedule = {"cron": cron} if cron else {"interval": interval}
    return cluster.trigger("ScheduleTrigger", "every", schedule=schedule, status=status, names=names)


def dues(cluster):
    return [datetime.fromisoformat(request.due_at) for _, request in cluster.asked]


@virtual
async def test_a_source_never_looked_at_is_due_at_once_then_on_the_grid():
    """The first check comes at once, the next ones an interval apart, each with its own due time."""
    cluster = Cluster()
    every(cluster, "10s")
    async with scheduling(cluster):
        await asyncio.sleep(45)
    times = [when for when, _ in cluster.asked]
    assert times[0] < 0.1
    assert len(times) in {5, 6}
    assert {round(b - a) for a, b in itertools.pairwise(times[1:])} == {10}
    assert len(set(dues(cluster))) == len(times)


@virtual
async def test_what_was_due_while_nobody_led_is_made_up_once_and_spread():
    """A day without a leader is one check for each source, within half a minute, not at the same moment."""
    cluster = Cluster()
    ago = (START - timedelta(days=1)).isoformat()
    for number in range(20):
        status = recorded(answeredAt=ago) | {"lastRun": ago}
        cluster.trigger("ScheduleTrigger", f"t{number}", schedule={"cron": "0 * * * *"}, status=status)
    async with scheduling(cluster):
        await asyncio.sleep(45)
    assert len(cluster.asked) == 20
    assert {when.isoformat() for when in dues(cluster)} == {"2026-05-06T07:00:00+00:00"}
    times = [when for when, _ in cluster.asked]
    assert max(times) <= 30
    assert max(times) - min(times) > 10


@virtual
async def test_after_an_outage_a_check_whose_regular_time_is_near_is_not_made_up():
    """A missed time and a due time within half a minute are one check, or two where every check runs."""
    cluster = Cluster()
    ago = (START - timedelta(days=1)).isoformat()
    status = recorded(answeredAt=ago) | {"lastRun": ago}
    for name, cron, watch in (
        ("near", "29 * * * * *", {}),
        ("far", "10 1 * * * *", {}),
        ("each", "29 * * * * *", {"watchOn": {"onChangeOnly": False}}),  # made up after 4 s, by its uid
    ):
        sources = {"names": ["app"]} | watch
        cluster.trigger("ScheduleTrigger", name, schedule={"cron": cron}, status=status, sources=sources)
    async with scheduling(cluster):
        await asyncio.sleep(35)
    times = Counter(request.trigger.name for _, request in cluster.asked)
    assert times == {"near": 1, "each": 2, "far": 1}


@virtual
async def test_an_answered_time_is_not_made_up():
    """A new leader knows from the status what its predecessor did."""
    cluster = Cluster()
    every(cluster, cron="0 * * * *", status=recorded(answeredAt="2026-05-06T07:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(1800)
        assert cluster.asked == []
        await asyncio.sleep(1801)
    assert [when.isoformat() for when in dues(cluster)] == ["2026-05-06T08:00:00+00:00"]


@virtual
async def test_edits_and_deletions_take_effect_at_once():
    """A yearly trigger becomes one of ten seconds; deleted, it is forgotten; made anew, it begins anew."""
    cluster = Cluster()
    first = every(cluster, "1y")
    async with scheduling(cluster):
        await until(lambda: len(cluster.asked) == 1)
        await asyncio.sleep(100)
        cluster.change(REF, spec={"schedule": {"interval": "10s"}})
        await until(lambda: len(cluster.asked) >= 2, within_s=11)
        cluster.drop(REF)
        await asyncio.sleep(1)
        assert cluster.forgotten == [first["metadata"]["uid"]]
        count = len(cluster.asked)
        await asyncio.sleep(100)
        assert len(cluster.asked) == count
        second = every(cluster, "10s")
        await until(lambda: len(cluster.asked) > count, within_s=1)
        assert cluster.asked[-1][1].uid == second["metadata"]["uid"]


@virtual
async def test_a_status_write_does_not_move_the_due_time():
    """Only the spec and the source's repository do."""
    cluster = Cluster()
    every(cluster, "10s")
    async with scheduling(cluster):
        for _ in range(60):
            await asyncio.sleep(1)
            cluster.change(REF, status={"lastRun": cluster.now().isoformat()})
    assert 6 <= len(cluster.asked) <= 7


@virtual
async def test_a_source_that_is_added_is_looked_at_now_one_removed_no_more():
    """The others keep their due times."""
    cluster = Cluster()
    every(cluster, "1h")
    async with scheduling(cluster):
        await until(lambda: len(cluster.asked) == 1)
        cluster.change(REF, status=recorded(answeredAt=cluster.now().isoformat()))
        await asyncio.sleep(5)
        cluster.change(REF, spec={"sources": {"names": ["app", "new"]}})
        await asyncio.sleep(5)
        assert [request.source for _, request in cluster.asked] == ["app", "new"]
        cluster.change(REF, spec={"sources": {"names": ["new"]}})
        await asyncio.sleep(7300)
    assert {request.source for _, request in cluster.asked[2:]} == {"new"}


@virtual
async def test_a_clock_set_forward_makes_up_one_run():
    """Three hours that never were are one miss, noticed within seconds."""
    cluster = Cluster()
    every(cluster, cron="*/10 * * * *", status=recorded(answeredAt="2026-05-06T07:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(60)
        cluster.offset = timedelta(hours=3)
        await asyncio.sleep(10)
        assert len(cluster.asked) == 1
        await asyncio.sleep(600)
    assert len(cluster.asked) == 2


@virtual
async def test_a_clock_set_back_repeats_nothing():
    """No due time is submitted twice, and they only grow."""
    cluster = Cluster()
    every(cluster, cron="*/10 * * * *", status=recorded(answeredAt="2026-05-06T07:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(1500)
        assert len(cluster.asked) == 2
        cluster.offset = timedelta(minutes=-21)
        await asyncio.sleep(3600)
    found = dues(cluster)
    assert found == sorted(set(found))
    assert len(found) > 2


@virtual
async def test_a_schedule_that_cannot_be_read_is_not_scheduled_until_mended():
    """The trigger's condition says so; others go on."""
    cluster = Cluster()
    every(cluster, cron="61 * * * *")
    cluster.trigger("ScheduleTrigger", "good", schedule={"interval": "1h"})
    async with scheduling(cluster):
        await asyncio.sleep(5)
        assert [request.trigger.name for _, request in cluster.asked] == ["good"]
        cluster.change(REF, spec={"schedule": {"interval": "1h"}})
        await until(lambda: len(cluster.asked) == 2, within_s=1)


@virtual
async def test_a_new_term_begins_from_the_status():
    """What was planned in an earlier term is forgotten."""
    cluster = Cluster()
    every(cluster, "10s")
    async with scheduling(cluster):
        await asyncio.sleep(15)
    cluster.drop(REF)
    count = len(cluster.asked)
    async with scheduling(cluster):
        await asyncio.sleep(100)
    assert len(cluster.asked) == count
    assert at() > 100


@virtual
async def test_a_schedule_that_may_not_come_due_so_often_has_no_due_times_until_it_may():
    """The policy is followed while leading: shortened distances begin within seconds, lengthened ones end."""
    cluster = Cluster()
    cluster.policy = Policy(minimum_interval_s=60)
    every(cluster, "10s")
    async with scheduling(cluster):
        await asyncio.sleep(60)
        assert cluster.asked == []
        cluster.policy = Policy(minimum_interval_s=10)
        await until(lambda: cluster.asked, within_s=10)
        cluster.policy = Policy(minimum_interval_s=3600)
        await asyncio.sleep(10)
        before = len(cluster.asked)
        await asyncio.sleep(60)
        assert len(cluster.asked) == before


@virtual
async def test_a_bug_met_at_one_trigger_ends_no_other(monkeypatch):
    """Nor the process, again and again after each start."""

    def planned(schedule, **given):
        if schedule.interval_ms == 7000:
            raise OverflowError("a bug")
        return due(schedule, **given)

    monkeypatch.setattr("git_events_runner.flow.scheduler.due", planned)
    cluster = Cluster()
    cluster.trigger("ScheduleTrigger", "bad", schedule={"interval": "7s"})
    every(cluster, "10s")
    async with scheduling(cluster):
        await asyncio.sleep(60)
    assert {request.trigger for _, request in cluster.asked} == {REF}
    assert len(cluster.asked) >= 5


@virtual
async def test_a_check_of_one_source_answers_no_time_of_another():
    """A source whose monthly time came while no replica was the leader is checked, whatever `lastRun` says."""
    cluster = Cluster()
    status = recorded(answeredAt="2026-05-06T07:00:00Z") | {"lastRun": "2026-05-06T07:00:01Z"}
    entries = status["checkedSources"]
    entries["lib"] = entries["app"] | {"answeredAt": "2026-04-06T07:00:00Z"}
    every(cluster, cron="0 7 6 * *", status=status, names=("app", "lib"))
    async with scheduling(cluster):
        await asyncio.sleep(60)
    assert [request.source for _, request in cluster.asked] == ["lib"]
    assert cluster.asked[0][1].due_at == "2026-05-06T07:00:00Z"


@virtual
async def test_last_run_counts_for_entries_of_the_legacy_version_alone():
    """They have no record of their own time; an entry of ours has at least the time of its commit."""
    cluster = Cluster()
    legacy = {"commitHash": "a" * 40, "fileHash": None, "changed": "2026-01-01T00:00:00Z"}
    status = {"checkedSources": {"app": legacy}, "lastRun": "2026-05-06T06:30:00Z"}
    every(cluster, cron="15 6 * * *", status=status)
    ours = recorded(changed="2026-05-06T06:00:00Z") | {"lastRun": "2026-05-06T06:30:00Z"}
    cluster.trigger("ScheduleTrigger", "ours", schedule={"cron": "15 6 * * *"}, status=ours)
    async with scheduling(cluster):
        await asyncio.sleep(60)
    assert [request.trigger.name for _, request in cluster.asked] == ["ours"]


@virtual
async def test_an_edited_schedule_does_not_fire_for_a_time_before_the_edit():
    """03:00 becomes 06:00 at 07:30: the next check is tomorrow's; the edit is recorded, for the next leader."""
    cluster = Cluster()
    trigger = every(cluster, cron="0 3 * * *", status=recorded(answeredAt="2026-05-06T03:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(1800)
        cluster.change(REF, spec={"schedule": {"cron": "0 6 * * *"}})
        await asyncio.sleep(600)
        assert cluster.asked == []
        edited = [(ref.name, uid, source, at.isoformat()) for ref, uid, source, at, _ in cluster.edits]
        [(name, uid, source, at)] = edited
        assert (name, uid, source) == ("every", trigger["metadata"]["uid"], "app")
        assert at.startswith("2026-05-06T07:30:0")
        await asyncio.sleep(23 * 3600 - 900)
    assert [when.isoformat() for when in dues(cluster)] == ["2026-05-07T06:00:00+00:00"]


@virtual
async def test_a_schedule_mended_after_an_hour_does_not_fire_for_a_time_before():
    """A cron that could not be read in between is an edit, too."""
    cluster = Cluster()
    every(cluster, cron="0 3 * * *", status=recorded(answeredAt="2026-05-06T03:00:00Z"))
    async with scheduling(cluster):
        cluster.change(REF, spec={"schedule": {"cron": "61 * * * *"}})
        await asyncio.sleep(1800)
        cluster.change(REF, spec={"schedule": {"cron": "0 6 * * *"}})
        await asyncio.sleep(600)
    assert cluster.asked == []


@virtual
async def test_an_edit_loses_no_time_that_waits_to_be_made_up():
    """A missed time of the old schedule whose check is spread over half a minute is checked when the spec changes."""
    cluster = Cluster()
    trigger = every(cluster, cron="0 3 * * *", status=recorded(answeredAt="2026-05-05T03:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(0.1)
        assert cluster.asked == []
        cluster.change(REF, spec={"schedule": {"cron": "0 6 * * *"}})
        await asyncio.sleep(60)
    [(_, request)] = cluster.asked
    assert (request.uid, request.due_at) == (trigger["metadata"]["uid"], "2026-05-06T03:00:00Z")


@virtual
async def test_an_edit_of_anything_else_moves_no_time():
    """A missed time that waits to be made up is made up once, when its turn comes."""
    cluster = Cluster()
    every(cluster, cron="0 3 * * *", status=recorded(answeredAt="2026-05-05T03:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(0.1)
        cluster.change(REF, spec={"action": {"kind": "Action", "name": "other"}})
        await asyncio.sleep(60)
    assert dues(cluster) == [datetime.fromisoformat("2026-05-06T03:00:00+00:00")]


@virtual
async def test_of_several_times_that_passed_the_last_one_is_made_up():
    """The next hour came while the check of the hour before waited for its turn: one check, for the next hour."""
    cluster = Cluster()
    every(cluster, cron="0 * * * *", status=recorded(answeredAt="2026-05-06T05:00:00Z"))
    cluster.offset = timedelta(seconds=-1)
    async with scheduling(cluster):
        await asyncio.sleep(1800)
    assert [when.isoformat() for when in dues(cluster)] == ["2026-05-06T07:00:00+00:00"]


@virtual
async def test_times_on_record_that_lie_ahead_stop_no_schedule():
    """The clock of a former leader was a day ahead for a moment, or somebody wrote the status."""
    cluster = Cluster()
    tomorrow = recorded(answeredAt="2026-05-07T07:00:00Z", changed="2026-05-06T06:55:00Z")
    every(cluster, cron="*/10 * * * *", status=tomorrow | {"lastRun": "2026-05-07T07:00:00Z"})
    async with scheduling(cluster):
        await asyncio.sleep(1800)
    assert [when.minute for when in dues(cluster)] == [0, 10, 20]


@virtual
async def test_a_clock_that_comes_back_after_a_day_ahead_stops_no_schedule():
    """The leader's own clock: one check for the day that never was, then each time as it comes."""
    cluster = Cluster()
    every(cluster, cron="*/10 * * * *", status=recorded(answeredAt="2026-05-06T07:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(60)
        cluster.offset = timedelta(days=1)
        await asyncio.sleep(15)
        cluster.offset = timedelta()
        await asyncio.sleep(1800)
    assert [when.isoformat()[8:16] for when in dues(cluster)] == ["07T07:00", "06T07:10", "06T07:20", "06T07:30"]


@virtual
async def test_a_scheduled_time_keeps_its_fraction_for_the_delay():
    """The record has whole milliseconds or seconds; how late a check begins is measured from the time itself."""
    cluster = Cluster()
    every(cluster, "10s")
    async with scheduling(cluster):
        await asyncio.sleep(45)
    late = [START + timedelta(seconds=when) - request.scheduled for when, request in cluster.asked[1:]]
    assert all(timedelta() <= one < timedelta(milliseconds=50) for one in late)
    assert [rfc3339(request.scheduled) for _, request in cluster.asked] == [r.due_at for _, r in cluster.asked]


@virtual
async def test_edits_leave_no_former_times_behind():
    """A thousand schedules of one trigger, each planned for a year ahead, are one time."""
    cluster = Cluster()
    every(cluster, "1y")
    async with scheduling(cluster) as scheduler:
        for days in range(1, 1001):
            cluster.change(REF, spec={"schedule": {"interval": f"{days}d"}})
            await asyncio.sleep(0.01)
        assert 1 <= len(scheduler._heap) < 100
        asked = len(cluster.asked)
        cluster.change(REF, spec={"schedule": {"interval": "10s"}})
        await until(lambda: len(cluster.asked) > asked, within_s=11)


@virtual
async def test_a_suspended_schedule_is_made_up_once_when_it_is_resumed():
    """Nothing is due meanwhile, not even for a trigger that was never checked; then one check, then the grid."""
    cluster = Cluster()
    cluster.trigger("ScheduleTrigger", "every", schedule={"interval": "10s"}, suspend=True)
    async with scheduling(cluster):
        await asyncio.sleep(45)
        assert cluster.asked == []
        cluster.change(REF, spec={"suspend": False})
        await asyncio.sleep(0.1)
        assert len(cluster.asked) == 1
        await asyncio.sleep(25)
        assert len(cluster.asked) in {3, 4}
        cluster.change(REF, spec={"suspend": True})
        before = len(cluster.asked)
        await asyncio.sleep(3600)
        assert len(cluster.asked) == before
        status = recorded(answeredAt=(START + timedelta(seconds=70)).isoformat())
        cluster.change(REF, spec={"suspend": False}, status=status)
        await asyncio.sleep(0.1)
    assert len(cluster.asked) == before + 1
    assert cluster.edits == []


@virtual
async def test_an_edit_of_a_suspended_schedule_does_not_fire_for_a_time_before_the_edit():
    """03:00 becomes 06:00 at 07:30, and it is resumed: no check; resumed after 06:00 of the next day: one."""
    cluster = Cluster()
    trigger = every(cluster, cron="0 3 * * *", status=recorded(answeredAt="2026-05-06T03:00:00Z"))
    async with scheduling(cluster):
        await asyncio.sleep(1700)
        cluster.change(REF, spec={"suspend": True})
        await asyncio.sleep(100)
        cluster.change(REF, spec={"schedule": {"cron": "0 6 * * *"}})
        await asyncio.sleep(0.1)
        [(ref, uid, source, at, _)] = cluster.edits
        assert (ref, uid, source) == (REF, trigger["metadata"]["uid"], "app")
        assert at.isoformat().startswith("2026-05-06T07:30:0")
        cluster.change(REF, spec={"suspend": False})
        await asyncio.sleep(600)
        assert cluster.asked == []
        cluster.change(REF, spec={"suspend": True})
        await asyncio.sleep(22.6 * 3600)
        assert cluster.asked == []
        cluster.change(REF, spec={"suspend": False})
        await asyncio.sleep(0.1)
    assert [when.isoformat() for when in dues(cluster)] == ["2026-05-07T06:00:00+00:00"]


@virtual
async def test_scheduled_times_of_a_moment_share_one_wake():
    """A busy installation is woken 25 times a second at most, and no check is late by more than that."""
    cluster = Cluster()
    for number in range(1000):
        names = [f"r{number}"]
        cluster.put(
            {
                "kind": "GitRepo",
                "metadata": {"name": names[0], "namespace": "n"},
                "spec": {"repoUri": f"https://x/{number}"},
            }
        )
        cluster.trigger("ScheduleTrigger", f"t{number}", schedule={"interval": "10s"}, sources={"names": names})
    async with scheduling(cluster):
        await asyncio.sleep(1)
        cluster.asked.clear()
        await asyncio.sleep(10)
    assert len(cluster.asked) == 1000
    assert len({when for when, _ in cluster.asked}) <= 250
    late_s = [(START + timedelta(seconds=when) - request.scheduled).total_seconds() for when, request in cluster.asked]
    assert 0 <= min(late_s) < 0.002
    assert max(late_s) < 0.043
