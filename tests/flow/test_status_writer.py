"""The status writer: writes that share a request, outcomes that are unknown, other writers, no starvation."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.errors import ApiConflict, ApiInvalid, ApiNotFound, ApiTooManyRequests, ApiUnavailable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Count, Outcome, Settle, Skip
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.prune import Prune
from git_events_runner.rules.ledger.report import Problem, Report
from git_events_runner.serving import running
from tests.flow.virtual import at, until, virtual
from tests.flow.world import A, B, Cluster, recorded, status_writer

REF = Ref("WebhookTrigger", "n", "hook")


@asynccontextmanager
async def writing(cluster):
    writer = status_writer(cluster, cluster.store, cluster.metrics)
    async with running(status=writer.run()):
        yield writer


class Overtaken(Cluster):
    """Another replica counts 64 deliveries before each reading."""

    async def get(self, ref, **options):
        status, _ = combine(self.objects[ref]["status"], [count(f"other{number}") for number in range(64)])
        self.change(ref, status=status)
        return await super().get(ref, **options)


def count(name="d"):
    return Count(requests={"app": None}, delivery=delivery_hash(name), at="2026-05-06T07:08:09Z")


def settle(number=1, commit=A, request=None):
    return Settle(
        source="app",
        number=number,
        commit=commit,
        file_hash=None,
        request=request,
        answered_at=None,
        job="j",
        phase="Running",
        changed="2026-05-06T07:08:09Z",
    )


def app(cluster):
    return entry_of(cluster.objects[REF].get("status"), "app")


def writes(cluster):
    return cluster.made("patch") + cluster.made("replace")


@virtual
async def test_a_storm_of_deliveries_shares_its_writes():
    """The first goes at once, 299 that arrive while it is under way share writes of 63; each is counted once."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    async with writing(cluster) as writer:
        outcomes = await asyncio.gather(*(writer.write(REF, uid, count(f"d{number}")) for number in range(300)))
        assert at() < 0.1
    assert outcomes == [[Outcome.WRITE]] * 300
    assert app(cluster).requested == 300
    assert len(writes(cluster)) <= 6


@virtual
async def test_writes_under_way_gather_what_comes_within_ten_milliseconds():
    """So hundreds of deliveries a second cost at most a hundred requests."""
    cluster = Cluster()
    cluster.latency_s = 0.004
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    async with writing(cluster) as writer, asyncio.TaskGroup() as group:
        for number in range(500):
            group.create_task(writer.write(REF, uid, count(f"d{number}")))
            await asyncio.sleep(0.002)
    assert app(cluster).requested == 500
    assert len(writes(cluster)) <= 110


async def deliver(cluster, *, a_second, seconds):
    """Deliveries at an even rate; how long each waited for its write, and the part of the time that writes took."""
    uid, waits = cluster.trigger(status=recorded())["metadata"]["uid"], []

    async def one(number):
        started_at = at()
        assert await writer.write(REF, uid, count(f"d{number}")) == [Outcome.WRITE]
        waits.append(at() - started_at)

    async with writing(cluster) as writer, asyncio.TaskGroup() as group:
        for number in range(a_second * seconds):
            group.create_task(one(number))
            await asyncio.sleep(1 / a_second)
    assert app(cluster).requested == a_second * seconds
    return sorted(waits), len(writes(cluster)) * cluster.latency_s / at()


@pytest.mark.parametrize("a_second", [1, 5, 20, 60])
def test_slow_writes_of_one_trigger_share_the_api_server(a_second):
    """A status whose write takes 0.1 s occupies it for at most 40 % of the time, and no delivery waits for 0.5 s."""

    @virtual
    async def check():
        cluster = Cluster()
        cluster.latency_s = 0.1
        waits, occupied = await deliver(cluster, a_second=a_second, seconds=20)
        assert occupied <= 0.4
        assert waits[-1] <= 0.5

    check()


@virtual
async def test_a_storm_is_not_slowed_down_by_slow_writes():
    """While more deliveries wait than one write may have, the next write follows immediately."""
    cluster = Cluster()
    cluster.latency_s = 0.1
    waits, _ = await deliver(cluster, a_second=400, seconds=10)
    assert waits[-1] <= 0.7


@virtual
async def test_a_single_delivery_to_a_slow_trigger_is_written_immediately():
    """Only what comes soon after another write waits for its window."""
    cluster = Cluster()
    cluster.latency_s = 0.1
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    async with writing(cluster) as writer:
        for number in range(5):
            started_at = at()
            await writer.write(REF, uid, count(f"d{number}"))
            assert at() - started_at < 0.11
            await asyncio.sleep(1)
        assert writer.idle


@virtual
async def test_a_lost_answer_does_not_count_a_delivery_twice():
    """It is recognised by its own id on the object read afterwards."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.faults = [("after", ApiUnavailable("lost"))]
    async with writing(cluster) as writer:
        await writer.write(REF, uid, count())
    assert app(cluster).requested == 1


@virtual
@pytest.mark.parametrize("size", [1, 2, 62, 63, 64, 65, 127, 130, 300])
@pytest.mark.parametrize("lost", ["a", "b", "ab", "ba", "aab", "-a-b", "--a", "abab", "aaaa", "---b-a"])
async def test_every_delivery_of_a_batch_is_counted_once_whatever_answers_are_lost(size, lost):
    """A write leaves a hash from before it among those kept, so its outcome is known (a: answer, b: request lost)."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded() | {"deliveries": delivery_hash("old")})["metadata"]["uid"]
    moments = {"a": ("after", ApiUnavailable("lost")), "b": ("before", ApiUnavailable("lost"))}
    cluster.faults = [moments.get(moment) for moment in lost]
    async with writing(cluster) as writer:
        outcomes = await asyncio.gather(*(writer.write(REF, uid, count(f"d{number}")) for number in range(size)))
    assert outcomes == [[Outcome.WRITE]] * size
    assert app(cluster).requested == size


@virtual
async def test_a_delivery_that_others_overtook_is_not_counted_twice():
    """Nothing tells whether a write arrived after which another replica counted 64: its caller gets an error."""
    cluster = Overtaken()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.faults = [("after", ApiUnavailable("lost"))]
    async with writing(cluster) as writer:
        with pytest.raises(ApiUnavailable):
            await writer.write(REF, uid, count())
    assert app(cluster).requested == 65


@virtual
async def test_a_lost_request_is_written_again():
    """The object read afterwards shows that it did not arrive."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.faults = [("before", ApiUnavailable("lost"))] * 3
    async with writing(cluster) as writer:
        await writer.write(REF, uid, count(), settle(2, B))
    assert (app(cluster).requested, app(cluster).runs, app(cluster).commit) == (1, 2, B)


@virtual
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_settlement_of_unknown_outcome_is_judged_by_reading(moment):
    """Recorded once, whichever way its answer was lost; the same for a trigger that has no status yet (PUT)."""
    for status in (recorded(), None):
        cluster = Cluster()
        uid = cluster.trigger(status=status)["metadata"]["uid"]
        cluster.faults = [(moment, ApiUnavailable("lost"))]
        async with writing(cluster) as writer:
            await writer.write(REF, uid, settle(2, B, request=0))
        assert (app(cluster).runs, app(cluster).commit) == (2, B)


@virtual
async def test_a_settlement_does_not_starve_beside_a_busy_writer():
    """JSON Patch tests what it rests on only: another field that changes before each write costs no attempt."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.lagging.add("WebhookTrigger")
    cluster.change(REF, status={"lastRun": "2026-05-06T07:00:00Z"})
    async with writing(cluster) as writer:
        await writer.write(REF, uid, settle(2, B))
    assert app(cluster).runs == 2
    assert len(writes(cluster)) == 1


@virtual
async def test_deliveries_are_put_whole_until_somebody_else_writes():
    """A PUT costs the server less than a patch; after a conflict patches are sent for a minute, and none is lost."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    async with writing(cluster) as writer:
        await writer.write(REF, uid, count("d1"))
        assert [len(cluster.made(verb)) for verb in ("replace", "patch")] == [1, 0]
        assert "spec" not in cluster.made("replace")[0][2]
        cluster.lagging.add("WebhookTrigger")
        cluster.change(REF, status={"lastRun": "2026-05-06T07:00:00Z"})
        await writer.write(REF, uid, count("d2"))
        await writer.write(REF, uid, count("d3"))
        assert [len(cluster.made(verb)) for verb in ("replace", "patch")] == [2, 2]
        await asyncio.sleep(61)
        await writer.write(REF, uid, count("d4"))
    assert [len(cluster.made(verb)) for verb in ("replace", "patch")] == [3, 2]
    assert app(cluster).requested == 4
    assert cluster.objects[REF]["status"]["lastRun"] == "2026-05-06T07:00:00Z"


@virtual
async def test_a_skip_on_an_older_record_is_stale():
    """A run recorded meanwhile: the check has to begin again, nothing is undone."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded(requested=2, handled=1))["metadata"]["uid"]
    cluster.lagging.add("WebhookTrigger")
    cluster.change(REF, status=recorded(runs=2, commit=B, requested=2, handled=1))
    async with writing(cluster) as writer:
        skip = Skip(source="app", expected=(1, A), handled=2, commit=A, file_hash=None)
        assert await writer.write(REF, uid, skip) == [Outcome.STALE]
    assert (app(cluster).commit, app(cluster).handled) == (B, 1)


@virtual
async def test_sources_are_pruned_by_the_spec_of_the_object_that_is_written():
    """A source added to the spec after the leader looked keeps its entry."""
    cluster = Cluster()
    status = recorded()
    status["checkedSources"]["old"] = dict(status["checkedSources"]["app"], runs=7)
    uid = cluster.trigger(status=status)["metadata"]["uid"]
    cluster.lagging.add("WebhookTrigger")
    cluster.change(REF, spec={"sources": {"names": ["app", "old"]}})
    async with writing(cluster) as writer:
        assert await writer.write(REF, uid, Prune(keep=frozenset({"app"}))) == [Outcome.DONE]
        assert "old" in cluster.objects[REF]["status"]["checkedSources"]
        cluster.change(REF, spec={"sources": {"names": ["app"]}})
        cluster.catch_up("WebhookTrigger")
        await writer.write(REF, uid, Prune(keep=frozenset({"app", "old"})))
    assert set(cluster.objects[REF]["status"]["checkedSources"]) == {"app"}
    assert cluster.objects[REF]["status"]["lastRunNumber"] == 7


@virtual
async def test_a_trigger_made_anew_is_not_written():
    """Its uid is tested: nothing of the old one is adopted."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.lagging.add("WebhookTrigger")
    cluster.drop(REF)
    cluster.trigger(status=recorded())
    async with writing(cluster) as writer:
        with pytest.raises(ApiNotFound):
            await writer.write(REF, uid, count())
        with pytest.raises(ApiNotFound):
            await writer.write(Ref("WebhookTrigger", "n", "none"), "u", count())
    assert app(cluster).requested == 0


@virtual
async def test_what_the_server_will_never_take_is_said_soon():
    """A refusal without a failed test is no conflict."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.faults = [("before", ApiInvalid("strict: unknown field"))] * 50
    async with writing(cluster) as writer:
        with pytest.raises(ApiInvalid):
            await writer.write(REF, uid, count())
    assert len(writes(cluster)) <= 3


@virtual
async def test_a_busy_server_is_asked_again_when_it_says():
    """Retry-After is honoured."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    busy = ApiTooManyRequests("busy")
    busy.retry_after_s = 7.0
    cluster.faults = [("before", busy)]
    async with writing(cluster) as writer:
        await writer.write(REF, uid, count())
        assert at() >= 7


@virtual
async def test_a_write_whose_callers_have_given_up_is_not_tried_again():
    """A former leader's, for instance: it ends with the attempt that is under way, and the next one is as ever."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded())
    uid = trigger["metadata"]["uid"]
    cluster.faults = [("before", ApiUnavailable("away"))] * 100
    async with writing(cluster) as writer:
        given_up = asyncio.ensure_future(writer.write(REF, uid, settle(2)))
        await until(lambda: len(writes(cluster)) >= 3)
        given_up.cancel()
        count_then = len(writes(cluster))
        await asyncio.sleep(60)
        assert len(writes(cluster)) <= count_then + 1
        assert writer.idle
        cluster.faults.clear()
        assert await writer.write(REF, uid, settle(2)) == [Outcome.WRITE]


@virtual
async def test_forty_conflicts_are_enough():
    """Then the caller decides; nothing loops for ever."""
    cluster = Cluster()
    uid = cluster.trigger()["metadata"]["uid"]
    cluster.faults = [("before", ApiConflict("changed"))] * 100
    async with writing(cluster) as writer:
        with pytest.raises(ApiConflict):
            await writer.write(REF, uid, count())
    assert len(writes(cluster)) == 40


@virtual
async def test_nobody_waits_for_a_writer_that_stopped():
    """They are told that the outcome is unknown; a 503 follows, not silence."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    cluster.faults = [("before", ApiUnavailable("away"))] * 1000
    waiting = []
    async with writing(cluster) as writer:
        waiting = [asyncio.ensure_future(writer.write(REF, uid, count(name))) for name in "ab"]
        await until(lambda: cluster.calls)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ApiUnavailable, ApiUnavailable]
    assert writer.idle


@virtual
async def test_what_another_replica_said_meanwhile_is_not_undone():
    """Conditions are written on top of those that were read: a cache that is behind brings nothing back."""
    away = Problem(reason="GitUnreachable", message="no answer")

    def report(source, problem):
        return Report(source=source, problem=problem, generation=1, now="2026-05-06T07:08:09Z")

    cluster = Cluster()
    status, _ = combine(recorded(), [report("old", away)])
    uid = cluster.trigger(status=status)["metadata"]["uid"]
    cluster.lagging.add("WebhookTrigger")
    status, _ = combine(status, [report("old", None), report("other", away)])
    cluster.change(REF, status=status)
    async with writing(cluster) as writer:
        assert await writer.write(REF, uid, report("app", away)) == [Outcome.WRITE]
    [reconciling] = [c for c in cluster.objects[REF]["status"]["conditions"] if c["type"] == "Reconciling"]
    assert reconciling["message"] == "source app: no answer\nsource other: no answer"


class Strict(Cluster):
    """Refuses a status with this run of a source."""

    async def patch(self, ref, body, **options):
        if any(each.get("path", "").endswith("/runs") and each["value"] == 7 for each in body if each["op"] == "add"):
            raise ApiInvalid("status is invalid")
        return await super().patch(ref, body, **options)

    async def replace(self, kind, obj, **options):
        if obj["status"]["checkedSources"]["app"]["runs"] == 7:
            raise ApiInvalid("status is invalid")
        return await super().replace(kind, obj, **options)


@virtual
async def test_a_write_that_is_refused_refuses_none_that_shares_its_request():
    """A delivery that came with it is recorded; the caller of the invalid one alone gets the refusal."""
    cluster = Strict()
    uid = cluster.trigger(status=recorded(runs=6))["metadata"]["uid"]
    async with writing(cluster) as writer:
        first = asyncio.ensure_future(writer.write(REF, uid, count("first")))
        await asyncio.sleep(0)
        wrong = asyncio.ensure_future(writer.write(REF, uid, settle(7, B)))
        good = asyncio.ensure_future(writer.write(REF, uid, count("second")))
        assert await first == await good == [Outcome.WRITE]
        with pytest.raises(ApiInvalid):
            await wrong
    assert app(cluster).requested == 2


@virtual
async def test_a_write_after_the_end_is_refused():
    """No loop would ever send it, and its caller would wait forever."""
    cluster = Cluster()
    uid = cluster.trigger(status=recorded())["metadata"]["uid"]
    async with writing(cluster) as writer:
        await asyncio.sleep(0)
    with pytest.raises(ApiUnavailable, match="is stopping"):
        await asyncio.wait_for(writer.write(REF, uid, count()), 10)
