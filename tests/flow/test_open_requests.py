"""Requests that are not handled are checked at every start, and by the leader, however often processes end."""

import asyncio
from datetime import timedelta

from git_events_runner.flow.checks.open_requests import AGAIN_S, OPEN_S, OpenRequests
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from tests.flow.virtual import at, virtual
from tests.flow.world import Cluster, Fence, recorded

REF = Ref("WebhookTrigger", "n", "hook")


class Process:
    """The open requests of one process, with the checks that are pending there."""

    def __init__(self, cluster):
        self.pending = set()
        self.requests = OpenRequests(
            store=cluster.store,
            submit=cluster.submit,
            pending=lambda uid, source: (uid, source) in self.pending,
            now=cluster.now,
        )

    async def lead(self, seconds):
        """Sweep every five seconds, as the leader does."""
        self.requests.begin()
        until = at() + seconds
        while at() < until:
            await self.requests.sweep(Fence())
            await asyncio.sleep(5)


def opened(cluster, *, requested=3, handled=1, age_s=0.0, names=("app",), **fields):
    """A trigger with open requests, the last of them recorded that long ago."""
    announced = {"commit": None, "at": rfc3339(cluster.now() - timedelta(seconds=age_s))}
    entry = recorded(requested=requested, handled=handled, announced=announced, **fields)["checkedSources"]["app"]
    return cluster.trigger(names=names, status={"checkedSources": dict.fromkeys(names, entry), "deliveries": ""})


@virtual
async def test_what_is_open_is_checked_when_a_replica_starts():
    """Immediately, without being the leader, and whoever recorded it."""
    cluster = Cluster()
    trigger = opened(cluster)
    await Process(cluster).requests.resume()
    await asyncio.sleep(0.01)
    [(when, request)] = cluster.asked
    assert (request.uid, request.source, request.due_at, request.fence) == (
        trigger["metadata"]["uid"],
        "app",
        None,
        None,
    )
    assert when < 0.1


@virtual
async def test_nothing_is_asked_for_at_a_start_when_all_is_handled():
    """Nor at any time after it."""
    cluster = Cluster()
    opened(cluster, handled=3)
    await Process(cluster).requests.resume()
    await Process(cluster).lead(3600)
    assert cluster.asked == []


@virtual
async def test_requests_of_sources_that_the_trigger_does_not_name_are_not_asked_for():
    """A status may hold thousands of them, written by a tenant or left by a former spec."""
    cluster = Cluster()
    entry = recorded(requested=3, handled=1)["checkedSources"]["app"]
    entries = dict.fromkeys(["app", *(f"s{number}" for number in range(1000))], entry)
    cluster.trigger(names=("app",), status={"checkedSources": entries, "deliveries": ""})
    process = Process(cluster)
    await process.requests.resume()
    await process.lead(60)
    assert {request.source for _, request in cluster.asked} == {"app"}


@virtual
async def test_many_open_requests_are_checked_a_few_at_a_time():
    """A thousand sources: 20 in a second after the first ones, and none that is handled by then."""
    cluster = Cluster()
    opened(cluster, names=[f"s{number}" for number in range(1000)])
    await Process(cluster).requests.resume()
    await asyncio.sleep(10)
    assert 150 < len(cluster.asked) < 250
    cluster.change(REF, status={"checkedSources": {}})
    count = len(cluster.asked)
    await asyncio.sleep(60)
    assert len(cluster.asked) == count


@virtual
async def test_a_request_whose_check_came_meanwhile_is_not_asked_for_again():
    """Its delivery was sent again right after the start."""
    cluster = Cluster()
    trigger = opened(cluster)
    process = Process(cluster)
    await process.requests.resume()
    process.pending.add((trigger["metadata"]["uid"], "app"))
    await asyncio.sleep(1)
    assert cluster.asked == []


@virtual
async def test_the_leader_takes_over_what_stays_open():
    """Within 13 s, and again from time to time until it is handled; never while its own check is pending."""
    cluster = Cluster()
    trigger = opened(cluster)
    process = Process(cluster)
    await process.lead(OPEN_S - 1)
    assert cluster.asked == []
    await process.lead(300)
    first = cluster.asked[0]
    assert OPEN_S <= first[0] <= OPEN_S + 5
    assert first[1].fence is not None
    assert 10 <= len(cluster.asked) <= 300 / AGAIN_S + 1
    process.pending.add((trigger["metadata"]["uid"], "app"))
    count = len(cluster.asked)
    await process.lead(300)
    assert len(cluster.asked) == count
    process.pending.clear()
    opened(cluster, handled=3)
    await process.lead(300)
    assert len(cluster.asked) == count


@virtual
async def test_how_long_a_request_is_open_goes_on_through_changes_of_leader():
    """Ten leaders in a row of six seconds each: the second one takes it over."""
    cluster = Cluster()
    opened(cluster)
    for _ in range(10):
        await Process(cluster).lead(6)
    assert OPEN_S <= cluster.asked[0][0] <= OPEN_S + 6


@virtual
async def test_a_time_that_lies_ahead_or_cannot_be_read_holds_nothing_up():
    """Then the leader's own waiting counts."""
    for announced in ({"commit": None, "at": "2040-01-01T00:00:00Z"}, {"commit": None, "at": "soon"}, None):
        cluster = Cluster()
        began = at()
        opened(cluster)
        status = recorded(requested=3, handled=1, announced=announced)
        cluster.change(REF, status=status)
        await Process(cluster).lead(OPEN_S + 6)
        assert cluster.asked[0][0] - began <= OPEN_S + 5


@virtual
async def test_a_steady_flow_of_deliveries_does_not_hide_that_none_is_handled():
    """Each is recorded with a new time; the leader counts from when it first saw that number open."""
    cluster = Cluster()
    process = Process(cluster)
    process.requests.begin()
    opened(cluster)
    for number in range(8):
        announced = {"commit": None, "at": rfc3339(cluster.now())}
        cluster.change(REF, status=recorded(requested=3 + number, handled=1, announced=announced))
        await process.requests.sweep(Fence())
        await asyncio.sleep(5)
    assert cluster.asked
    assert cluster.asked[0][0] <= OPEN_S + 5
