"""Lanes: one check at a time for each trigger, what arrives meanwhile merged, failures tried again later."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.checks.keyed_workers import KeyedWorkers
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.messages import CheckRequest, Requeue
from git_events_runner.serving import running
from tests.flow.virtual import at, until, virtual
from tests.flow.world import Fence

DUE = "2026-01-01T00:00:00Z"


class Checker:
    """Takes `seconds` for each check; gives `answers` one after another, then None."""

    def __init__(self, *answers, seconds=1.0):
        self.answers, self.seconds = list(answers), seconds
        self.seen, self.working, self.most = [], 0, 0

    async def check(self, request):
        self.seen.append((round(at(), 3), request))
        self.working += 1
        self.most = max(self.most, self.working)
        await asyncio.sleep(self.seconds)
        self.working -= 1
        return self.answers.pop(0) if self.answers else None

    @property
    def times(self):
        return [when for when, _ in self.seen]


def lanes_of(checker, **more):
    given = {"schedule_parallelism": 8, "webhook_parallelism": 8, "longest_backoff_s": 60.0, "weight": equal} | more
    return KeyedWorkers(check=checker.check, **given)


def ask(trigger="a", source="app", *, due=None, task="t", namespace="n"):
    return CheckRequest(
        trigger=Ref("WebhookTrigger", namespace, trigger),
        uid=trigger,
        source=source,
        due_at=due,
        fence=None,
        tasks=(task,) if task else (),
    )


@virtual
async def test_what_arrives_during_a_check_shares_the_next_one():
    """Three hundred deliveries cost two checks, and the second knows whose they were."""
    checker = Checker()
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask(task="first"))
        await asyncio.sleep(0.5)
        for number in range(300):
            lanes.submit(ask(task=f"t{number}"))
        await until(lambda: not lanes.pending("a"))
    assert [request.tasks for _, request in checker.seen] == [("first",), tuple(f"t{n}" for n in range(236, 300))]


@virtual
async def test_a_source_is_checked_by_one_at_a_time_and_sources_concurrently():
    """Those of one trigger and those of different triggers; what arrives for a source meanwhile waits for its end."""
    checker = Checker()
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        for trigger in "ab":
            for source in ("x", "y"):
                lanes.submit(ask(trigger, source))
        await asyncio.sleep(0.5)
        lanes.submit(ask("a", "x"))
        await until(lambda: len(checker.seen) == 5)
    assert checker.most == 4
    assert checker.times == [0.0, 0.0, 0.0, 0.0, 1.0]


@virtual
async def test_the_references_of_a_source_are_checked_one_after_another():
    """The check of their list is one of all of them."""
    checker = Checker()
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        for source in ("x@heads/main", "x", "y"):
            lanes.submit(ask(source=source))
        await until(lambda: not lanes.pending("a"))
    assert [(when, request.source) for when, request in checker.seen] == [(0.0, "x@heads/main"), (0.0, "y"), (1.0, "x")]


@virtual
async def test_parallelism_is_limited_for_each_cause():
    """A thousand due schedules do not keep webhooks waiting."""
    checker = Checker()
    lanes = lanes_of(checker, schedule_parallelism=2, webhook_parallelism=1)
    async with running(lanes=lanes.run()):
        for number in range(6):
            lanes.submit(ask(f"s{number}", due="2026-01-01T00:00:00Z"))
        lanes.submit(ask("w"))
        await asyncio.sleep(0.5)
        assert checker.most == 3
        assert [request.uid for _, request in checker.seen] == ["s0", "s1", "w"]


@virtual
async def test_failures_are_tried_again_by_a_growing_back_off_that_success_resets():
    """1, 2, 4 … seconds, a minute at most."""
    failures = [Requeue()] * 9
    checker = Checker(*failures, None, Requeue(), seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 10)
        gaps = [round(b - a) for a, b in zip(checker.times, checker.times[1:], strict=False)]
        assert gaps == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 12)
    assert round(checker.times[-1] - checker.times[-2]) == 1


@virtual
async def test_a_check_may_say_when_to_look_again():
    """A rate limit's Retry-After, or at once for the next of several requests."""
    checker = Checker(Requeue(after_s=17.0), Requeue(after_s=0.0), seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 3)
    assert [round(when) for when in checker.times] == [0, 17, 17]


@virtual
async def test_who_does_not_lead_stops_trying_after_a_while():
    """The leader's sweep takes the request over."""
    checker = Checker(*[Requeue(limit_s=30.0)] * 50, seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: not lanes.pending("a"))
        assert 30 < at() < 70
        assert len(checker.seen) == 6


@virtual
async def test_a_new_request_does_not_wait_for_the_back_off():
    """A push after a failure is looked at now."""
    checker = Checker(*[Requeue()] * 6, seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 6)
        asked = at()
        lanes.submit(ask(task="new"))
        await until(lambda: len(checker.seen) == 7)
        assert at() - asked < 1
    assert checker.seen[-1][1].tasks == ("t", "new")


@virtual
async def test_a_due_time_that_failed_is_not_lost_to_a_request():
    """Neither in its back-off nor while its check is under way: the next check has to answer it, as the leader's."""
    for pause_s in (0.5, 1.5):
        checker = Checker(Requeue(), seconds=1.0)
        lanes = lanes_of(checker)
        fence = Fence()
        async with running(lanes=lanes.run()):
            lanes.submit(replace(ask(due=DUE, task="old"), fence=fence))
            await asyncio.sleep(pause_s)
            lanes.submit(ask(task="new"))
            await until(lambda seen=checker.seen: len(seen) == 2)
        second = checker.seen[1][1]
        assert (second.due_at, second.fence, second.tasks, second.retry) == (DUE, fence, ("old", "new"), False)


@virtual
async def test_a_storm_of_requests_beside_a_due_time_that_fails_is_spaced():
    """What joins a due time does not make it a loop."""
    checker = Checker(*[Requeue(after_s=2.0)] * 1000, seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask(due=DUE))
        while at() < 3:
            lanes.submit(ask())
            await asyncio.sleep(0.01)
    assert len(checker.seen) < 25


@virtual
async def test_what_is_tried_again_is_known_to_be_old_news():
    """Only the first try of a request, or one that a new request joins, comes with news of the source."""
    checker = Checker(Requeue(after_s=5.0), Requeue(after_s=5.0), seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 2)
        lanes.submit(ask())
        await until(lambda: not lanes.pending("a"))
    assert [request.retry for _, request in checker.seen] == [False, True, False]


@virtual
async def test_nothing_is_checked_while_held():
    """The CRDs would drop what is written."""
    checker = Checker()
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.hold(held=True)
        lanes.submit(ask())
        await asyncio.sleep(60)
        assert checker.seen == []
        lanes.hold(held=False)
        await until(lambda: checker.seen)


@virtual
async def test_what_goes_while_held_ends_nothing_else():
    """CRDs that are deleted take their triggers with them; the process may also be told to stop then."""
    checker = Checker(seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.hold(held=True)
        lanes.submit(ask("gone"))
        await asyncio.sleep(1)
        lanes.forget("gone")
        lanes.hold(held=False)
        lanes.submit(ask("b"))
        await until(lambda: checker.seen)
        lanes.hold(held=True)
        lanes.submit(ask("c"))
        await asyncio.sleep(1)
        await lanes.drain()
    assert [request.uid for _, request in checker.seen] == ["b"]


@virtual
async def test_a_trigger_that_is_gone_is_looked_at_no_more():
    """Neither what waits nor what was to be tried again; the lane goes too."""
    checker = Checker(Requeue(), seconds=0.5)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await asyncio.sleep(0.1)
        lanes.submit(ask(source="other"))
        lanes.forget("a")
        await asyncio.sleep(120)
    assert len(checker.seen) == 1
    assert lanes._lanes == {}


@virtual
async def test_draining_ends_what_is_under_way_and_takes_nothing_new():
    """Counted requests are left to the next leader."""
    checker = Checker(seconds=5.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await asyncio.sleep(0.1)
        lanes.submit(ask(task="late"))
        await lanes.drain()
        assert at() >= 5
        lanes.submit(ask(task="later"))
        await asyncio.sleep(60)
    assert len(checker.seen) == 1


def slow_for(namespace, seconds, quick_s=0.01):
    """A check that takes so many seconds in that namespace, a moment in the others; what began when, by trigger."""
    began, under_way = {}, {}

    async def check(request):
        began.setdefault(request.uid, at())
        place = request.trigger.namespace
        under_way[place] = under_way.get(place, 0) + 1
        began[place] = max(began.get(place, 0), under_way[place])
        await asyncio.sleep(seconds if place == namespace else quick_s)
        under_way[place] -= 1

    return SimpleNamespace(check=check, began=began)


@virtual
async def test_a_namespace_whose_servers_are_slow_delays_no_other():
    """64 triggers on a server that answers after 15 s: a neighbour's schedule and webhook begin in half a second."""
    checker = slow_for("evil", 15.0)
    lanes = lanes_of(checker, schedule_parallelism=16, webhook_parallelism=16)
    async with running(lanes=lanes.run()):
        for second in range(60):
            for number in range(64):
                lanes.submit(ask(f"s{number}", due=DUE, namespace="evil"))
                lanes.submit(ask(f"w{number}", namespace="evil"))
            asked = at()
            lanes.submit(ask(f"schedule{second}", due=DUE, namespace="good"))
            lanes.submit(ask(f"webhook{second}", namespace="good"))
            await asyncio.sleep(1)
            assert checker.began[f"schedule{second}"] - asked <= 0.5
            assert checker.began[f"webhook{second}"] - asked <= 0.5


@virtual
async def test_many_namespaces_whose_servers_are_slow_delay_no_other():
    """Also twenty of them, each with more triggers than it may have checks under way; weights do not change that."""
    for weight in (equal, lambda name: 1 if name == "good" else 100):
        began = {}

        async def check(request, began=began):
            began[request.uid] = at()
            await asyncio.sleep(0.01 if request.trigger.namespace == "good" else 15)

        lanes = lanes_of(SimpleNamespace(check=check), schedule_parallelism=16, weight=weight)
        async with running(lanes=lanes.run()):
            for number in range(20 * 32):
                lanes.submit(ask(f"s{number}", due=DUE, namespace=f"evil{number % 20}"))
            for second in range(30):
                await asyncio.sleep(1)
                asked = at()
                lanes.submit(ask(f"good{second}", due=DUE, namespace="good"))
                await until(lambda now=second, began=began: f"good{now}" in began)
                assert began[f"good{second}"] - asked <= 2


@virtual
async def test_one_namespace_has_as_many_checks_under_way_as_the_parallelism():
    """Alone in an installation it uses all; the others do not lower it; slow checks do not raise it."""
    checker = slow_for("a", 30.0)
    lanes = lanes_of(checker, schedule_parallelism=8)
    async with running(lanes=lanes.run()):
        for number in range(40):
            lanes.submit(ask(f"s{number}", due=DUE, namespace="a"))
        await asyncio.sleep(20)
    assert checker.began["a"] == 8


@virtual
async def test_checks_that_begin_are_as_many_as_the_parallelism_in_all_namespaces():
    """What costs this process work is bounded for the whole installation, not for each namespace."""
    checker = Checker(seconds=0.1)
    lanes = lanes_of(checker, schedule_parallelism=4)
    async with running(lanes=lanes.run()):
        for number in range(60):
            lanes.submit(ask(f"s{number}", due=DUE, namespace=f"n{number % 20}"))
        await until(lambda: len(checker.seen) == 60)
    assert checker.most == 4


@virtual
async def test_namespaces_have_turns_by_their_weight():
    """One with weight 3 has three checks for each of the other while both wait."""
    checker = Checker(seconds=0.1)
    lanes = lanes_of(checker, schedule_parallelism=1, weight=lambda name: 3 if name == "gold" else 1)
    async with running(lanes=lanes.run()):
        for number in range(40):
            lanes.submit(ask(f"g{number}", due=DUE, namespace="gold"))
            lanes.submit(ask(f"i{number}", due=DUE, namespace="iron"))
        await until(lambda: len(checker.seen) == 40)
        seen = [request.trigger.namespace for _, request in checker.seen]
    assert 28 <= seen.count("gold") <= 31


@virtual
async def test_a_check_that_waits_for_its_slot_does_not_start_while_checks_are_held():
    """The CRDs turned out to be outdated while it waited: what it writes would be dropped."""
    checker = Checker(seconds=5.0)
    lanes = lanes_of(checker, webhook_parallelism=1)
    async with running(lanes=lanes.run()):
        for trigger in "abc":
            lanes.submit(ask(trigger))
        await asyncio.sleep(0.1)
        lanes.hold(held=True)
        await asyncio.sleep(60)
        assert len(checker.seen) == 1
        lanes.hold(held=False)
        await until(lambda: len(checker.seen) == 3, within_s=20)


@virtual
async def test_the_next_of_several_requests_and_a_wait_are_no_failures():
    """One hiccup of the API server after them costs a second, not a minute."""
    checker = Checker(
        *[Requeue(after_s=0.0, failed=False)] * 9, Requeue(after_s=8.0, failed=False), Requeue(), seconds=0.0
    )
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 12)
    assert round(checker.times[-1] - checker.times[-2]) == 1


@virtual
async def test_only_failures_use_up_the_time_after_which_another_replica_takes_over():
    """A wait of half a minute for a commit, then one failed answer: it is tried again here."""
    waits = [Requeue(after_s=8.0, failed=False)] * 5
    checker = Checker(*waits, Requeue(limit_s=30.0), seconds=0.0)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        lanes.submit(ask())
        await until(lambda: len(checker.seen) == 7, within_s=120)


@virtual
async def test_nothing_is_kept_of_thousands_of_triggers_without_a_check():
    """A few of the last ones know what was checked just now: a check that is requested then waits for a moment."""
    checker = Checker(seconds=0.01)
    lanes = lanes_of(checker)
    async with running(lanes=lanes.run()):
        for number in range(1000):
            lanes.submit(ask(f"t{number}"))
        await until(lambda: len(checker.seen) == 1000)
        await asyncio.sleep(0.02)
        assert lanes._lanes == {}
        assert len(lanes._idle) < 500
        lanes.submit(ask("t999"))
        await until(lambda: len(checker.seen) == 1001)
    assert checker.times[-1] - checker.times[-2] >= 0.1
