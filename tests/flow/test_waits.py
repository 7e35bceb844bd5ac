"""Changes that wait: windows, debounce and cooldown, through restarts, edits and hundreds of deliveries."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from git_events_runner.resources.ref import Ref
from git_events_runner.resources.windows import Window
from git_events_runner.rules.annotated import RUN_ANNOTATION
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.ledger.mutations import Touch
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.rules.policy import Policy
from git_events_runner.rules.windows import parse_windows
from tests.flow.program import REF
from tests.flow.replica import Replica
from tests.flow.virtual import until, virtual
from tests.flow.world import START, A, B, Cluster, Fence, recorded

C, D = "c" * 40, "d" * 40
NIGHTLY = Ref("ScheduleTrigger", "n", "hook")
# It is 07:00 UTC on a Wednesday when a test begins.
OPENS_AT_8 = [{"allow": "0 8 * * 1-5", "duration": "2h"}]


def replica(kind="WebhookTrigger", *, status=None, **spec):
    """A replica, and a trigger whose source has run commit A."""
    cluster = Cluster()
    cluster.surroundings()
    answered = {"answeredAt": "2026-05-06T06:59:59Z"} if kind == "ScheduleTrigger" else {}
    cluster.trigger(kind, status=status or recorded(runs=1, commit=A, **answered), **spec)
    return Replica(cluster)


def entry(made, ref=REF):
    return made.cluster.objects[ref]["status"]["checkedSources"]["app"]


@virtual
async def test_a_hundred_pushes_outside_a_window_run_once_at_its_opening():
    """To the second, the newest commit; every request is handled by that run, and the condition says what waits."""
    made = replica(windows=OPENS_AT_8)
    async with made.leading():
        for number in range(100):
            await made.push(f"{number % 10}" * 40)
            await asyncio.sleep(20)
        await made.push(B)
        await asyncio.sleep(30)
        assert made.started() == []
        reason, message = made.waits_for()
        assert reason == "OutsideWindows"
        assert "commit bbbbbbbbbbbb waits" in message
        assert "2026-05-06T08:00:00Z" in message
        assert (entry(made)["requested"], entry(made)["handled"]) == (101, 0)
        asked = made.git.asked
        assert made.cluster.series('changes_waiting{verdict="wait-window"}') == 1
        await asyncio.sleep(1300)
        assert made.git.asked <= asked + 1  # nothing polls for the opening
        await asyncio.sleep(7200)
    assert made.started() == [("b", "08:00:00")]
    assert (entry(made)["handled"], entry(made).get("waiting"), made.waits_for()) == (101, None, None)
    assert made.cluster.series('changes_waiting{verdict="wait-window"}') == 0


@virtual
async def test_a_scheduled_change_waits_and_its_time_is_handled_by_the_later_check():
    """Checks outside the window find nothing new or wait; at the opening the newest commit runs, for the last time."""
    made = replica("ScheduleTrigger", windows=OPENS_AT_8, schedule={"cron": "*/10 * * * *"})
    async with made.leading():
        await asyncio.sleep(700)
        assert entry(made, NIGHTLY).get("waiting") is None
        made.git.head = B
        await asyncio.sleep(600)
        assert made.waits_for(NIGHTLY)[0] == "OutsideWindows"
        writes = len(made.cluster.made("write"))
        await asyncio.sleep(1200)
        assert len(made.cluster.made("write")) == writes  # a check that finds what waits writes nothing
        made.git.head = C
        await asyncio.sleep(3600)
    assert made.started() == [("c", "08:00:00")]


@virtual
@pytest.mark.parametrize("kind", ["WebhookTrigger", "ScheduleTrigger"])
async def test_a_new_leader_starts_what_waits_at_the_same_time(kind):
    """What waits is in the status: open requests, scheduled times that are not handled."""
    ref = REF if kind == "WebhookTrigger" else NIGHTLY
    spec = {} if kind == "WebhookTrigger" else {"schedule": {"cron": "5 7 * * *"}}
    made = replica(kind, windows=OPENS_AT_8, **spec)
    for _ in range(3):
        async with made.leading():
            if made.git.head != B:
                made.git.head = B
                if kind == "WebhookTrigger":
                    await made.push(B)
            await asyncio.sleep(900)
            assert made.waits_for(ref)[0] == "OutsideWindows"
        head, made = made.git.head, Replica(made.cluster)
        made.git.head = head
    async with made.leading():
        await asyncio.sleep(3600)
    assert made.started() == [("b", "08:00:00")]


@virtual
async def test_a_replica_that_does_not_lead_leaves_long_waits_to_the_leader():
    """It keeps those of half a minute: the window may open before the leader sees the request."""
    made = replica(windows=OPENS_AT_8)
    async with made.at_work():
        await made.push(B)
        await asyncio.sleep(3580)
        assert not made.waiting(made.cluster.objects[REF]["metadata"]["uid"], "app")
        await made.deliver("late")
        await asyncio.sleep(60)
    assert made.started() == [("b", "08:00:00")]


@virtual
@pytest.mark.parametrize("windows", [[], [{"allow": "0 7 * * *", "duration": "1h"}]])
async def test_a_window_that_is_edited_lets_the_change_run_immediately(windows):
    """One that is removed, and one that is open now."""
    made = replica(windows=OPENS_AT_8)
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(100)
        made.cluster.change(REF, spec={"windows": windows})
        await asyncio.sleep(10)
        assert made.started() == [("b", "07:01:40")]
        await asyncio.sleep(7200)
    assert len(made.started()) == 1


@virtual
async def test_a_run_requested_by_annotation_does_not_wait():
    """As while the trigger is suspended: a person wants it now."""
    made = replica(windows=OPENS_AT_8, cooldown="1h")
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(10)
        status = made.cluster.objects[REF]["status"]
        status["checkedSources"]["app"] |= {"runRequested": 1, "runHandled": 0}
        status["lastHandledRunRequestedAt"] = RUN_ANNOTATION
        made.cluster.change(REF, status=status)
        made.lanes.submit(
            CheckRequest(
                trigger=REF,
                uid=made.cluster.objects[REF]["metadata"]["uid"],
                source="app",
                due_at=None,
                fence=None,
            )
        )
        await asyncio.sleep(10)
        assert made.started() == [("b", "07:00:10")]
        assert made.waits_for() is None


@virtual
async def test_debounce_runs_when_the_reference_has_not_moved_for_a_while():
    """Ten pushes, ten seconds apart, are one run half a minute after the last."""
    made = replica(debounce={"quiet": "30s", "max": "5m"})
    async with made.leading():
        for number in range(10):
            await made.push(f"{number}" * 40)
            await asyncio.sleep(10)
        assert made.waits_for()[0] == "Debounce"
        await asyncio.sleep(120)
    [(commit, at)] = made.started()
    assert commit == "9"
    assert "07:02:00" <= at <= "07:02:02"
    assert made.waits_for() is None


@virtual
async def test_debounce_ends_at_its_maximum_through_restarts():
    """The first move is on record: a reference that never rests and leaders that change delay the run no longer."""
    made = replica(debounce={"quiet": "30s", "max": "2m"})
    for number in range(8):
        async with made.leading():
            await made.push(f"{number}" * 40)
            await asyncio.sleep(20)
        made, before = Replica(made.cluster), made
        made.git.head = before.git.head
    async with made.leading():
        await asyncio.sleep(60)
    starts = made.started()
    assert "07:02:00" <= starts[0][1] <= "07:02:22"
    assert len(starts) == 2
    assert starts[-1][0] == "7"


@virtual
async def test_a_reference_that_moves_back_runs_nothing():
    """The record and the condition end with it."""
    made = replica(debounce={"quiet": "30s"})
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(5)
        assert made.waits_for()[0] == "Debounce"
        await made.push(A)
        await asyncio.sleep(100)
    assert made.started() == []
    assert (entry(made).get("waiting"), made.waits_for(), entry(made)["handled"]) == (None, None, 2)


@virtual
async def test_cooldown_keeps_the_starts_of_two_runs_apart():
    """Pushes every minute: a run each ten minutes, of the newest commit; nothing is lost at the end."""
    made = replica(cooldown="10m")
    async with made.leading():
        for number in range(25):
            await made.push(f"{number:02}" * 20)
            await asyncio.sleep(60)
        await made.push(B)
        await asyncio.sleep(1200)
    starts = [START.replace(hour=int(at[:2]), minute=int(at[3:5]), second=int(at[6:])) for _, at in made.started()]
    apart = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(starts)]
    assert made.started()[0] == ("0", "07:00:00")
    assert made.started()[-1][0] == "b"
    assert all(600 <= seconds <= 602 for seconds in apart), apart
    assert len(starts) == 4


@virtual
async def test_cooldown_counts_from_the_start_of_a_run_that_waited_for_its_slot():
    """A Job that is still suspended has not started: the next one comes no sooner than ten minutes after it does."""
    made = replica(cooldown="10m")
    made.slots.free = False
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(900)
        [job] = made.jobs()
        await made.push(C)
        await asyncio.sleep(300)
        started = {"startTime": made.cluster.now().isoformat()}
        made.cluster.change(made.cluster.ref(job), spec={"suspend": False}, status=started)
        await asyncio.sleep(590)
        assert len(made.jobs()) == 1
        await asyncio.sleep(900)
    assert [commit for commit, _ in made.started()] == ["b", "c"]


@virtual
async def test_a_time_between_runs_that_has_not_begun_is_recorded_once():
    """The last Job waits for its slot, so the time is not known: polls write nothing until the Job starts."""
    made = replica("ScheduleTrigger", cooldown="10m", schedule={"interval": "10s"})
    made.slots.free = False
    async with made.leading():
        made.git.head = B
        await asyncio.sleep(60)
        [job] = made.jobs()
        made.git.head = C
        await asyncio.sleep(60)
        waiting = entry(made, NIGHTLY)["waiting"]
        assert (waiting["reason"], waiting.get("until")) == ("Cooldown", None)
        before = len(made.cluster.calls)
        await asyncio.sleep(1800)
        written = [one for call in made.cluster.calls[before:] if call[0] == "write" for one in call[2]]
        assert {type(one) for one in written} <= {Touch}  # `lastRun`, at most every 10 min
        started = {"startTime": made.cluster.now().isoformat()}
        made.cluster.change(made.cluster.ref(job), spec={"suspend": False}, status=started)
        await asyncio.sleep(590)
        assert len(made.jobs()) == 1
        assert entry(made, NIGHTLY)["waiting"]["until"] == "2026-05-06T07:42:01Z"
        await asyncio.sleep(30)
    assert [commit for commit, _ in made.started()] == ["b", "c"]


@virtual
async def test_each_request_has_its_run_at_its_time():
    """onChangeOnly: false with a cooldown: one run for each request, ten minutes apart, none lost."""
    made = replica(cooldown="10m", sources={"names": ["app"], "watchOn": {"onChangeOnly": False}})
    async with made.leading():
        for number in range(3):
            await made.deliver(f"d{number}")
        await asyncio.sleep(3600)
    assert [at[:5] for _, at in made.started()] == ["07:00", "07:10", "07:20"]
    assert entry(made)["handled"] == 3


@virtual
async def test_an_hour_of_suspension_with_500_deliveries_is_one_check_on_resume():
    """Each delivery is recorded; nothing is lost, and one Job runs the newest commit."""
    made = replica(suspend=True)
    async with made.leading():
        for number in range(500):
            await made.push(f"{number % 10}" * 40)
            await asyncio.sleep(7)
        await made.push(B)
        assert made.git.asked == 0
        assert (entry(made)["requested"], entry(made)["handled"]) == (501, 0)
        made.cluster.change(REF, spec={"suspend": False})
        await asyncio.sleep(60)
        assert made.git.asked == 1
    assert [commit for commit, _ in made.started()] == ["b"]
    assert entry(made)["handled"] == 501


@virtual
async def test_a_trigger_that_is_suspended_shows_no_wait():
    """Nor does it run at the opening; when it is resumed it runs, as the window is open by then."""
    made = replica(windows=OPENS_AT_8)
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(100)
        made.cluster.change(REF, spec={"suspend": True})
        await asyncio.sleep(100)
        assert made.waits_for() is None
        await asyncio.sleep(4000)
        assert made.started() == []
        made.cluster.change(REF, spec={"suspend": False})
        await asyncio.sleep(60)
    assert [commit for commit, _ in made.started()] == ["b"]


@virtual
async def test_windows_that_cannot_be_read_stop_the_trigger_with_a_condition():
    """The field is named; the request waits for it to be corrected."""
    made = replica(windows=[{"allow": "0 8 * * *", "duration": "1h", "timeZone": "Mars/Base"}])
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(60)
        assert made.condition("Stalled") == ("True", "InvalidSpec")
        assert made.started() == []
        made.cluster.change(REF, spec={"windows": []})
        await asyncio.sleep(60)
        assert made.condition("Stalled") is None
    assert [commit for commit, _ in made.started()] == ["b"]


@virtual
async def test_the_installations_windows_bind_every_trigger():
    """When the administrator lifts them, what waits runs immediately."""
    made = replica()
    policy = made.cluster.policy
    made.cluster.policy = Policy(windows=parse_windows([Window(deny="0 0 * * *", duration="12h")], "policy.windows"))
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(300)
        assert made.waits_for()[0] == "OutsideWindows"
        made.cluster.policy = policy
        await asyncio.sleep(10)
    assert [commit for commit, _ in made.started()] == ["b"]


def fill(made, number):
    """Checks of so many triggers wait."""
    for index in range(number):
        request = CheckRequest(trigger=REF, uid=f"u{index}", source="app", due_at=None, fence=Fence())
        made.waits.put(request, made.cluster.now() + timedelta(hours=1, seconds=index), CheckResult.WAIT_WINDOW)


@virtual
async def test_a_leader_forgets_what_waited_from_an_earlier_leadership():
    """Its fence would refuse it; the sweep and the scheduler submit it again. What has no fence stays."""
    made = replica()
    fill(made, 5)
    request = CheckRequest(trigger=REF, uid="mine", source="app", due_at=None, fence=None)
    made.waits.put(request, made.cluster.now() + timedelta(seconds=20), CheckResult.WAIT_DEBOUNCE)
    made.waits.begin()
    assert not any(made.waits.pending(f"u{index}", "app") for index in range(5))
    assert made.waits.pending("mine", "app")
    made.waits.forget("mine")
    assert made.cluster.series("changes_waiting") == 0


@virtual
async def test_what_waits_is_merged_and_a_scheduled_time_outlives_requests():
    """A check that does not wait ends the requests that did; the scheduled time still has its own check."""
    made = replica()
    due = CheckRequest(
        trigger=REF, uid="u", source="app", due_at="2026-05-06T07:00:00Z", fence=Fence(), scheduled=START
    )
    requests = CheckRequest(trigger=REF, uid="u", source="app", due_at=None, fence=None, tasks=("t",))
    hour = made.cluster.now() + timedelta(hours=1)
    made.waits.put(due, hour, CheckResult.WAIT_WINDOW)
    made.waits.put(requests, hour, CheckResult.WAIT_WINDOW)
    made.waits.end(requests)
    assert made.waits.pending("u", "app")
    made.waits.forget("u")
    fenced = CheckRequest(trigger=REF, uid="u", source="app", due_at=None, fence=Fence())
    made.waits.put(fenced, hour, CheckResult.WAIT_WINDOW)
    made.waits.end(requests)
    assert not made.waits.pending("u", "app")
    await until(lambda: True)
