"""The sources of one trigger in its lane: which is checked when, and which delay no other."""

import asyncio

from git_events_runner.flow.checks.lane import Lane
from git_events_runner.rules.messages import Requeue
from git_events_runner.serving import running
from tests.flow.test_keyed_workers import DUE, Checker, ask, lanes_of
from tests.flow.virtual import at, until, virtual


class Dead(Checker):
    """A check of a source whose name begins with "dead" takes `dead_s` and fails, of another one `seconds`."""

    def __init__(self, *, dead_s=30.0, seconds=0.06):
        super().__init__(seconds=seconds)
        self.dead_s, self.dead_now, self.most_dead = dead_s, 0, 0

    async def check(self, request):
        if not request.source.startswith("dead"):
            return await super().check(request)
        self.seen.append((round(at(), 3), request))
        self.dead_now += 1
        self.most_dead = max(self.most_dead, self.dead_now)
        await asyncio.sleep(self.dead_s)
        self.dead_now -= 1
        return Requeue()

    def times_of(self, source):
        return [when for when, request in self.seen if request.source == source]


@virtual
async def test_one_source_that_fails_does_not_make_another_pending():
    """Else the leader's sweep would never look at the requests of the other."""
    checker = Dead(dead_s=0.5, seconds=0.6)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask(source="dead"))
        lanes.submit(ask(source="y"))
        for seconds, pending in ((0.2, (True, True)), (0.35, (True, True)), (0.45, (True, False))):
            await asyncio.sleep(seconds)
            assert (lanes.pending("a", "dead"), lanes.pending("a", "y")) == pending
        assert lanes.pending("a")
        assert not lanes.pending("b", "x")


async def begins(lanes, checker, request):
    """How long a check waits before it begins."""
    asked, before = at(), len(checker.times_of(request.source))
    lanes.submit(request)
    await until(lambda: len(checker.times_of(request.source)) > before, within_s=1000)
    return checker.times_of(request.source)[-1] - asked


@virtual
async def test_ten_dead_sources_do_not_delay_a_healthy_one():
    """Neither their first checks, when it is not known that they fail, nor those by the minute; requests and times."""
    checker = Dead()
    lanes = lanes_of(checker, schedule_parallelism=16)
    async with running(lanes=lanes.run()):
        for minute in range(10):
            await asyncio.sleep(max(60 * minute - at(), 0))
            for dead in range(10):
                lanes.submit(ask(source=f"dead{dead}", due=DUE, task=""))
            assert await begins(lanes, checker, ask(source="app", due=DUE, task="")) <= 0.5
            assert await begins(lanes, checker, ask(source="app")) <= 0.2
            assert await begins(lanes, checker, ask(source="hook")) <= 0.001
        assert {len(checker.times_of(f"dead{dead}")) >= 4 for dead in range(10)} == {True}


@virtual
async def test_dead_sources_that_are_known_leave_slots_to_the_other_triggers_of_their_namespace():
    """Thirty of them hold three of its sixteen."""
    checker = Dead()
    lanes = lanes_of(checker, schedule_parallelism=16)
    async with running(lanes=lanes.run()):
        for dead in range(30):
            lanes.submit(ask(source=f"dead{dead}", due=DUE, task=""))
        await until(lambda: len(checker.seen) > 60, within_s=1000)
        checker.most_dead = 0
        for number in range(20):
            assert await begins(lanes, checker, ask(f"t{number}", source="app", due=DUE, task="")) <= 0.3
            await asyncio.sleep(7)
    assert checker.most_dead <= 3


@virtual
async def test_a_thousand_sources_fit_into_a_minute():
    """Of one trigger, 60 ms each; not more than four of them at a time."""
    checker = Checker(seconds=0.06)
    lanes = lanes_of(checker, schedule_parallelism=16)
    async with running(lanes=lanes.run()):
        for number in range(1000):
            lanes.submit(ask(source=f"s{number}", due=DUE))
        await until(lambda: not lanes.pending("a"), within_s=60)
    assert checker.most == 4
    assert len(checker.seen) == 1000


@virtual
async def test_slow_sources_of_one_trigger_are_a_few_at_a_time():
    """What is slow makes room for others, up to a limit."""
    checker = Checker(seconds=20.0)
    lanes = lanes_of(checker, schedule_parallelism=64)
    async with running(lanes=lanes.run()):
        for number in range(100):
            lanes.submit(ask(source=f"s{number}", due=DUE))
        await asyncio.sleep(15)
        assert [round(when, 1) for when in checker.times] == [0.0] * 4 + [0.2] * 4 + [0.4] * 4
        await until(lambda: not lanes.pending("a"), within_s=1000)
    assert checker.most == 12
    assert len(checker.seen) == 100


@virtual
async def test_dead_sources_have_their_turn_beside_a_storm_of_requests():
    """After some checks of the healthy source in a row one of the others is due, and each of them in turn."""
    checker = Dead(seconds=1.0)
    lanes = lanes_of(checker, schedule_parallelism=1, webhook_parallelism=1)

    async def storm():
        while True:
            lanes.submit(ask(source="app"))
            await asyncio.sleep(0.1)

    async with running(lanes=lanes.run(), storm=storm()):
        for dead in range(3):
            lanes.submit(ask(source=f"dead{dead}", task="t"))
        await asyncio.sleep(2000.0)
    runs = [request.source for _, request in checker.seen]
    assert {runs.count(f"dead{dead}") >= 5 for dead in range(3)} == {True}
    gaps = [b - a for a, b in zip(checker.times_of("app"), checker.times_of("app")[1:], strict=False)]
    assert max(gaps[3:]) <= 32.0


@virtual
async def test_a_request_is_checked_before_scheduled_times_that_wait():
    """Of one trigger's sources the one that was pushed to comes first; so does one whose scheduled time waits."""
    checker = Dead(seconds=0.1)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        for number in range(100):
            lanes.submit(ask(source=f"s{number}", due=DUE, task=""))
        await asyncio.sleep(0.55)
        assert await begins(lanes, checker, ask(source="pushed")) <= 0.1
        assert await begins(lanes, checker, ask(source="s99")) <= 0.1
        assert len(checker.seen) < 50


def test_references_that_come_and_go_are_not_kept_in_memory():
    """The lane of a trigger lives as long as it: a branch that was checked a year ago is no part of it."""
    lane = Lane("n")
    for number in range(2000):
        lane.put(ask(source=f"app@heads/{number}"), float(number))
        scheduled = lane.enlist(float(number))
        lane.end(lane.start(float(number), scheduled=scheduled), number + 0.5, quick=True)
    held = [each for name in Lane.__slots__ if hasattr(each := getattr(lane, name), "__len__")]
    assert max(map(len, held)) <= 256
