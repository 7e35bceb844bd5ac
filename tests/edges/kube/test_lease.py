"""Leadership: the election as a table, and two replicas on one lease with clocks that tests move."""

import asyncio
import contextlib

import pytest

from git_events_runner.edges.kube.lease import Fence, Lease, Move, Seen, Timing, elect
from git_events_runner.errors import ApiAlreadyExists, ApiConflict, ApiInvalid, ApiNotFound, ApiUnavailable, FenceLost
from git_events_runner.resources.ref import Ref

TIMING = Timing(duration_s=15, renew_deadline_s=10, retry_s=2.0)
REF = Ref("Lease", "n", "leader")


def seen(holder="b", *, at=0.0, duration_s=15.0, deleted=False):
    return Seen(holder=holder, version="1", duration_s=duration_s, transitions=1, changed_at=at, deleted=deleted)


@pytest.mark.parametrize(
    ("record", "now", "move"),
    [
        (None, 0.0, Move.CREATE),
        (seen("a"), 0.0, Move.RENEW),
        (seen("a"), 99.0, Move.RENEW),
        (seen("a", deleted=True), 0.0, Move.CREATE),
        (seen("b"), 14.9, Move.WAIT),
        (seen("b"), 15.0, Move.TAKE),
        (seen("b", at=90.0), 100.0, Move.WAIT),
        (seen("", duration_s=1), 0.0, Move.TAKE),
        (seen(""), 1.0, Move.WAIT),
        (seen(""), 15.0, Move.TAKE),
        (seen("b", deleted=True), 1.0, Move.WAIT),
        (seen("b", deleted=True), 15.0, Move.CREATE),
        (seen("", duration_s=1, deleted=True), 0.0, Move.CREATE),
    ],
)
def test_what_a_replica_does(record, now, move):
    """As replica `a`: released by its holder is free at once; deleted or edited by hand only once it expired."""
    assert elect(record, identity="a", now=now) is move


def test_a_fence_holds_from_the_beginning_of_the_last_renewal():
    """Not from its end: the answer may have been slow."""
    now = [100.0]
    fence = Fence(renew_deadline_s=10, clock=lambda: now[0])
    with pytest.raises(FenceLost):
        fence.check()
    fence.renewed(95.0)
    now[0] = 104.9
    fence.check()
    now[0] = 105.0
    with pytest.raises(FenceLost):
        fence.check()
    fence.renewed(104.0)
    fence.close()
    assert not fence.holds


class World:
    """One lease on an API server with a clock: `broken` replicas do not reach it, `slow_s` delays what they read."""

    def __init__(self):
        self.now = 0.0
        self.lease, self.version = None, 0
        self.owner = None
        self.marks, self.former = {}, []
        self.broken = set()
        self.slow_s = {}
        self.sleepers = []
        self.dry_runs, self.no_dry_runs = [], False

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        """Until the clock has moved so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, future))
        await future

    async def pass_time(self, seconds):
        """Move the clock in small steps, letting everybody work."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += 0.1
            for entry in [entry for entry in self.sleepers if entry[0] <= self.now]:
                self.sleepers.remove(entry)
                if not entry[1].done():
                    entry[1].set_result(None)
            for _ in range(12):
                await asyncio.sleep(0)

    def edit(self, metadata=None, **spec):
        """Somebody edits the record by hand."""
        self.version += 1
        metadata = (self.lease["metadata"] if self.lease else {}) if metadata is None else metadata
        self.lease = {
            "metadata": metadata | {"resourceVersion": str(self.version)},
            "spec": (self.lease["spec"] if self.lease else {}) | spec,
        }


class Api:
    """The world as one replica reaches it."""

    def __init__(self, world, name):
        self.world, self.name = world, name

    async def _reach(self):
        if self.name in self.world.broken:
            raise ApiUnavailable("away")

    async def get(self, ref, *, timeout_s):
        await self._reach()
        if self.world.lease is None:
            raise ApiNotFound("none")
        found = self.world.lease
        await self.world.sleep(self.world.slow_s.get(self.name, 0))
        return found

    async def create(self, kind, obj, *, timeout_s=None, strict=False):
        await self._reach()
        if self.world.lease is not None:
            raise ApiAlreadyExists("exists")
        self.world.edit(obj["metadata"], **obj["spec"])
        return self.world.lease

    async def replace(self, kind, obj, *, subresource=None, strict=False, timeout_s=None, dry_run=False):
        await self._reach()
        self.world.dry_runs += [obj] if dry_run else []
        if dry_run and self.world.no_dry_runs:
            raise ApiInvalid("an admission webhook does not support dry run", status=400)
        if self.world.lease is None:
            raise ApiNotFound("none")
        if obj["metadata"]["resourceVersion"] != str(self.world.version):
            raise ApiConflict("changed")
        if dry_run:
            return self.world.lease
        self.world.edit(obj["metadata"], **obj["spec"])
        return self.world.lease


class Marks:
    """What the replicas of a world write into the lease."""

    def __init__(self, world):
        self.world = world

    @property
    def annotations(self):
        return self.world.marks

    def replaced(self, former):
        self.world.former.append(former)


class Candidate:
    """A replica that only leads."""

    def __init__(self, world, name):
        self.fence = None
        self.task = None
        self.terms = 0
        self.lease = self._lease = Lease(
            api=Api(world, name),
            ref=REF,
            identity=name,
            timing=TIMING,
            owner=lambda: world.owner,
            marks=Marks(world),
            changed=lambda _leading: None,
            failed=lambda _error: None,
            clock=world.clock,
            sleep=world.sleep,
        )

    async def lead(self, fence):
        self.fence = fence
        self.terms += 1
        await asyncio.Event().wait()

    def start(self):
        self.task = asyncio.ensure_future(self._lease.run(self.lead))
        return self

    @property
    def leads(self):
        return self.fence is not None and self.fence.holds


@contextlib.asynccontextmanager
async def two():
    """A world with replicas a (leading) and b."""
    world = World()
    first = Candidate(world, "a").start()
    await world.pass_time(0.2)
    second = Candidate(world, "b").start()
    await world.pass_time(3)
    assert (first.leads, second.leads) == (True, False)
    try:
        yield world, first, second
    finally:
        world.broken.clear()
        for candidate in (first, second):
            candidate.task.cancel()
        await asyncio.gather(first.task, second.task, return_exceptions=True)


async def test_a_process_with_the_lease_of_a_former_one_waits_until_its_requests_have_landed():
    """Killed and started again under its name: it leads five seconds after its start, before the lease expires."""
    async with two() as (world, first, second):
        killed = first.task
        killed.cancel()
        world.broken.add("a")  # it does not give its lease back
        await asyncio.gather(killed, return_exceptions=True)
        world.broken.clear()
        again = Candidate(world, "a").start()
        try:
            await world.pass_time(4.8)
            assert not again.leads
            await world.pass_time(0.6)
            assert again.leads
            assert not second.leads
            await world.pass_time(20)
            assert (again.leads, again.terms) == (True, 1)
        finally:
            again.task.cancel()
            await asyncio.gather(again.task, return_exceptions=True)


async def test_a_process_that_was_started_long_ago_leads_without_waiting():
    """Its own requests are its own to know; and a lease of nobody, or one that expired, is not a former process's."""
    world = World()
    candidate = Candidate(world, "a").start()
    await world.pass_time(0.3)
    assert candidate.leads
    world.edit(world.lease["metadata"], holderIdentity="x", leaseDurationSeconds=15)
    await world.pass_time(12)
    assert not candidate.leads
    world.edit(world.lease["metadata"], holderIdentity="a")
    await world.pass_time(2.6)
    assert (candidate.leads, candidate.terms) == (True, 2)
    candidate.task.cancel()
    await asyncio.gather(candidate.task, return_exceptions=True)


async def take_over(world, first, second, *, within_s):
    """Pass time until the second leads; at no moment both do."""
    for _ in range(int(within_s * 10)):
        await world.pass_time(0.1)
        assert not (first.leads and second.leads)
        if second.leads:
            return
    raise AssertionError(f"no take-over within {within_s} s: {world.lease}")


async def test_a_new_lease_has_an_owner_and_what_others_wrote_into_it_stays():
    """Labels and owners pass through renewals; a lease without an owner gets none by a renewal."""
    async with two() as (world, first, _):
        world.edit(world.lease["metadata"] | {"labels": {"a": "b"}})
        world.owner = {"kind": "ConfigMap", "name": "config", "uid": "1"}
        await world.pass_time(10)
        assert world.lease["metadata"]["labels"] == {"a": "b"}
        assert "ownerReferences" not in world.lease["metadata"]
        world.lease = None
        await world.pass_time(10)
        assert world.lease["metadata"]["ownerReferences"] == [world.owner]
        assert world.lease["spec"]["holderIdentity"] == "a"
        world.owner = None
        renewed = world.version
        await world.pass_time(10)
        assert world.version > renewed
        assert world.lease["metadata"]["ownerReferences"][0]["uid"] == "1"
        assert first.leads


async def test_what_a_former_leader_has_marked_is_reported_once_to_the_next():
    """Annotations of others stay; a mark that is the same is no news."""
    async with two() as (world, first, second):
        world.edit(world.lease["metadata"] | {"annotations": {"mark": "old", "theirs": "x"}})
        world.marks = {"mark": "new"}
        await world.pass_time(10)
        assert world.lease["metadata"]["annotations"] == {"mark": "new", "theirs": "x"}
        assert world.former == [{"mark": "old"}]
        world.broken.add("a")
        await take_over(world, first, second, within_s=30)
        assert world.lease["metadata"]["annotations"] == {"mark": "new", "theirs": "x"}
        assert len(world.former) == 1


async def test_a_leader_that_renews_stays():
    """Nobody takes a lease that goes on changing, however long."""
    async with two() as (world, first, second):
        for _ in range(60):
            await world.pass_time(1)
            assert first.leads
        assert (first.terms, second.terms) == (1, 0)


async def test_a_partitioned_leader_stops_before_the_other_starts():
    """It acts until the renew deadline; the other waits until the record has not changed for the duration."""
    async with two() as (world, first, second):
        world.broken.add("a")
        await world.pass_time(12.1)
        assert not first.leads
        await take_over(world, first, second, within_s=8)
        assert world.lease["spec"]["leaseTransitions"] == 1


async def test_a_slow_answer_does_not_make_the_record_older():
    """Expiry runs from the arrival of what was read, so a holder's last renewal is never counted from before it."""
    async with two() as (world, first, second):
        world.slow_s["b"] = 3.9
        await world.pass_time(10)
        world.broken.add("a")
        await take_over(world, first, second, within_s=30)


async def test_a_short_failure_of_the_api_server_keeps_the_leader():
    """Renewals are tried again within the renew deadline."""
    async with two() as (world, first, second):
        world.broken.update("ab")
        await world.pass_time(7)
        world.broken.clear()
        await world.pass_time(20)
        assert (first.leads, first.terms, second.terms) == (True, 1, 0)


async def test_a_clean_stop_hands_over_at_once():
    """The record is given back last, and the other takes it at its next look."""
    async with two() as (world, first, second):
        first.task.cancel()
        await take_over(world, first, second, within_s=2.5)


async def test_a_deleted_lease_never_makes_two_leaders():
    """The leader makes it again; the other does not jump in before the leader must have noticed."""
    async with two() as (world, first, second):
        world.lease = None
        for _ in range(300):
            await world.pass_time(0.1)
            assert not (first.leads and second.leads)
        assert first.leads
        world.broken.add("a")
        world.lease = None
        await take_over(world, first, second, within_s=18)


async def test_an_edited_holder_never_makes_two_leaders():
    """Whatever name somebody writes into it: the leader steps down at its next look, others wait."""
    async with two() as (world, first, second):
        world.edit(holderIdentity="somebody")
        await world.pass_time(3)
        assert not first.leads
        for _ in range(250):
            await world.pass_time(0.1)
            assert not (first.leads and second.leads)
        assert first.leads or second.leads
        leader, other = (first, second) if first.leads else (second, first)
        world.edit(holderIdentity="")
        for _ in range(200):
            await world.pass_time(0.1)
            assert not (leader.leads and other.leads)


async def test_a_bug_in_leader_work_ends_the_run():
    """It must end the process, after the lease was given back."""
    world = World()

    class Broken(Candidate):
        async def lead(self, fence):
            raise RuntimeError("bug")

    candidate = Broken(world, "a").start()
    await world.pass_time(1)
    with pytest.raises(RuntimeError):
        await candidate.task
    assert world.lease["spec"]["holderIdentity"] == ""


async def test_leader_work_that_lost_its_fence_waits_for_the_next_term():
    """FenceLost is not a bug: the replica becomes a candidate again."""
    world = World()

    class Late(Candidate):
        async def lead(self, fence):
            self.terms += 1
            if self.terms == 1:
                raise FenceLost("too late")
            await asyncio.Event().wait()

    candidate = Late(world, "a").start()
    await world.pass_time(5)
    assert candidate.terms == 2
    candidate.task.cancel()
    await asyncio.gather(candidate.task, return_exceptions=True)


async def test_leadership_that_lapsed_is_not_renewed():
    """What the lost fence has stopped is planned again only by a new term, also when nobody else took the lease."""
    world = World()
    only = Candidate(world, "a").start()
    await world.pass_time(3)
    lapsed = only.fence
    world.now += TIMING.duration_s + 1  # the process stands still
    assert not lapsed.holds
    for _ in range(100):
        await world.pass_time(0.1)
        assert not lapsed.holds
    assert (only.terms, only.leads) == (2, True)
    only.task.cancel()
    await asyncio.gather(only.task, return_exceptions=True)


async def test_only_a_replica_that_saw_another_one_renew_follows():
    """Neither the leader, nor one that saw the lease expire; one that reads nothing any more keeps what it saw."""
    async with two() as (world, first, second):
        assert (first.lease.follows, second.lease.follows) == (False, True)
        world.broken.add("b")
        await world.pass_time(60)
        assert second.lease.follows
        world.broken.clear()
        world.broken.add("a")
        await take_over(world, first, second, within_s=30)
        assert not second.lease.follows


async def test_a_dry_run_changes_nothing_and_reaches_the_lease():
    """It puts what was read; a conflict and a refusal of dry runs are answers too, silence is none."""
    async with two() as (world, _, second):
        before = world.version
        assert await second.lease.try_write()
        assert world.version == before
        assert world.dry_runs[-1]["spec"]["holderIdentity"] == "a"
        world.edit(renewTime="later")
        assert await second.lease.try_write()
        world.no_dry_runs = True
        assert await second.lease.try_write()
        world.broken.add("b")
        assert not await second.lease.try_write()


async def test_what_is_answered_is_told_from_what_is_tried():
    """While nothing answers, attempts go on and the time of the last answer stays."""
    async with two() as (world, first, second):
        world.broken.update("ab")
        since = world.now
        await world.pass_time(60)
        for one in (first, second):
            assert one.lease.answered_at <= since
            assert world.now - one.lease.moved_at < 5
        world.broken.clear()
        await world.pass_time(5)
        assert world.now - second.lease.answered_at < 5
