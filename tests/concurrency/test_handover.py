"""Work handed over: one key's slow or failing work delays no other's, and all of it ends together."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from git_events_runner.concurrency.handover import TOGETHER, Handover, working
from git_events_runner.errors import FenceLost
from tests.flow.virtual import at, until, virtual


class Works:
    """Work that takes as long as its key's `slow`, fails as often as its `fails`, and notes when it began."""

    def __init__(self):
        self.slow, self.fails, self.began, self.under_way, self.most = {}, {}, [], [], 0

    async def __call__(self, key):
        assert key not in self.under_way
        self.under_way.append(key)
        self.most = max(self.most, len(self.under_way))
        self.began.append((key, at()))
        try:
            await asyncio.sleep(self.slow.get(key, 0.001))
        finally:
            self.under_way.remove(key)
        if self.fails.get(key, 0):
            self.fails[key] -= 1
            return False
        return True

    def times(self, key):
        return [when for one, when in self.began if one == key]


@asynccontextmanager
async def at_work(handover):
    """The handover at work, as a task that a test may watch."""
    task = asyncio.ensure_future(handover.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_slow_work_of_one_namespace_delays_no_other():
    """However much of it hangs for minutes."""
    works = Works()
    works.slow = {("bad", number): 600.0 for number in range(500)}
    handover = Handover(works)
    async with at_work(handover):
        for key in works.slow:
            handover.put("bad", key)
        await asyncio.sleep(5)
        for number in range(100):
            handover.put("good", ("good", number))
        await until(lambda: len([key for key, _ in works.began if key[0] == "good"]) == 100, within_s=1)
        assert 1 < len(works.under_way) < TOGETHER


@virtual
async def test_what_is_put_while_its_work_runs_runs_once_more():
    """Ten times put are one time: the work reads what there is when it begins."""
    works = Works()
    works.slow = {"a": 1.0}
    handover = Handover(works)
    async with at_work(handover):
        handover.put("n", "a")
        await asyncio.sleep(0.5)
        for _ in range(10):
            handover.put("n", "a")
        await until(lambda: not len(handover))
        assert works.times("a") == [0.0, 1.0]


@virtual
async def test_failed_work_backs_off_however_often_it_is_put():
    """The time doubles up to a minute, and begins again after a success."""
    works = Works()
    works.fails = {"a": 8}
    handover = Handover(works)
    async with at_work(handover):
        handover.put("n", "a")
        while len(handover):
            await asyncio.sleep(0.5)
            if works.fails["a"]:
                handover.put("n", "a")
        times = works.times("a")
        gaps = [round(later - earlier) for earlier, later in pairwise(times)]
        assert gaps[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
        works.fails = {"a": 1}
        count, now = len(works.began), at()
        handover.put("n", "a")
        await until(lambda: len(works.began) == count + 2)
        assert at() - now < 1.5


@virtual
async def test_work_that_takes_too_long_has_failed():
    """It is cancelled, makes room for others, and is tried again after its back-off."""
    works = Works()
    works.slow = {"slow": 3600.0}
    handover = Handover(works, limit_s=10.0, together=1)
    async with at_work(handover):
        handover.put("bad", "slow")
        handover.put("good", "good")
        await until(lambda: works.times("good"), within_s=11)
        await until(lambda: len(works.times("slow")) == 3)
        assert works.times("slow") == [0.0, 11.0, 23.0]
        assert "slow" in handover
        works.slow = {}
        await until(lambda: "slow" not in handover)


@virtual
async def test_nothing_begins_after_the_end():
    """What runs is cancelled, what waits and what backs off never begins."""
    works = Works()
    works.slow, works.fails = {"slow": 60.0}, {"failing": 99}
    handover = Handover(works, together=2)
    async with working(handover):
        for key in ("slow", "failing", "waiting"):
            handover.put("n", key)
        await asyncio.sleep(0.5)
    count = len(works.began)
    assert works.under_way == []
    await asyncio.sleep(600)
    assert len(works.began) == count


@virtual
async def test_the_loss_of_leadership_ends_the_body_and_is_raised_itself():
    """The caller expects it."""

    async def fenced(_key):
        await asyncio.sleep(0.001)
        raise FenceLost("lost")

    handover = Handover(fenced)
    with pytest.raises(FenceLost):  # noqa: PT012  the body is what is ended
        async with working(handover):
            handover.put("n", "a")
            await asyncio.sleep(10)
            raise AssertionError("the body was not ended")


@virtual
async def test_a_bug_in_the_work_of_one_object_is_logged_and_ends_no_other():
    """One line with its traceback for each attempt; it backs off as after a failure, and is done when it can be."""
    began = []

    async def work(key):
        began.append((key, round(at(), 3)))
        if key == "broken" and at() < 10:
            raise KeyError(key)
        return True

    handover = Handover(work)
    with capture_logs() as logs:
        async with working(handover):
            handover.put("n", "broken")
            handover.put("n", "good")
            await asyncio.sleep(5)
            handover.put("n", "later")
            await asyncio.sleep(60)
    assert [when for key, when in began if key == "broken"] == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert [(key, when) for key, when in began if key != "broken"] == [("good", 0.0), ("later", 5.0)]
    assert [(one["event"], one["namespace"], one["name"]) for one in logs] == [("object.crashed", "n", "broken")] * 4
    assert len(handover) == 0


@settings(max_examples=60, deadline=None)
@given(
    puts=st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from("abc"), st.integers(0, 4), st.floats(0, 2), st.integers(0, 3)),
        max_size=40,
    ),
    together=st.integers(1, 4),
)
def test_every_put_is_followed_by_a_run_within_the_bound(puts, together):
    """Whatever is slow or fails: a key's work never runs twice at the same time, and at last everything is done."""

    @virtual
    async def check():
        works = Works()
        handover = Handover(works, together=together)
        last = {}
        async with at_work(handover) as task:
            for wait_s, namespace, number, slow_s, fails in puts:
                await asyncio.sleep(wait_s)
                key = (namespace, number)
                works.slow[key], works.fails[key], last[key] = slow_s, fails, at()
                handover.put(namespace, key)
            await until(lambda: not len(handover), every_s=1.0)
            assert not task.done()
        assert works.most <= together
        assert all(works.times(key)[-1] >= when for key, when in last.items())

    check()
