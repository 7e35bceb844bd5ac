"""A replica whose writes fail for long: not ready where another replica is the leader, with a line where it is not."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

from git_events_runner.flow.utility import Health
from git_events_runner.serving import running
from git_events_runner.wiring.write_health import WriteHealth
from tests.flow.virtual import until, virtual

LIMIT_S = 60.0


class Lease:
    """A lease that another replica holds, or none (`follows`); counts dry runs, which fail while it is `shut`."""

    def __init__(self, *, follows=True):
        self.follows, self.shut, self.tried = follows, False, 0

    async def try_write(self):
        self.tried += 1
        await asyncio.sleep(0.01)
        return not self.shut


@asynccontextmanager
async def report_problem(lease):
    """Health and the client, whose `written_at` a test may set."""
    loop = asyncio.get_running_loop()
    health, client = Health(clock=loop.time), SimpleNamespace(written_at=float("-inf"))
    writes = WriteHealth(
        client=client,
        lease=lease,
        limit_s=LIMIT_S,
        report_problem=partial(health.set_problem, "writes"),
        note=partial(health.note, "writes"),
    )
    async with running(writes=writes.run()):
        yield health, client


@virtual
async def test_a_replica_with_nothing_to_write_tries_every_ten_seconds():
    """It stays ready for hours, and costs the API server a dry run each time."""
    lease = Lease()
    async with report_problem(lease) as (health, _):
        await asyncio.sleep(3600)
        assert health.not_ready() == []
        assert 250 <= lease.tried <= 400


@virtual
async def test_a_replica_whose_writes_fail_is_not_ready():
    """After the limit, not before; and ready a few seconds after they succeed again."""
    lease = Lease()
    async with report_problem(lease) as (health, _):
        await asyncio.sleep(100)
        lease.shut = True
        await asyncio.sleep(LIMIT_S - 15)
        assert health.not_ready() == []
        await until(health.not_ready, within_s=20)
        [line] = health.not_ready()
        assert line.startswith("writes: no write has succeeded for 6")
        assert line.endswith("another replica is the leader")
        lease.shut = False
        await until(lambda: not health.not_ready(), within_s=3)


@virtual
async def test_other_writes_make_the_dry_run_unnecessary():
    """A replica that records deliveries sends none."""
    lease = Lease()
    async with report_problem(lease) as (health, client):
        for _ in range(100):
            client.written_at = asyncio.get_running_loop().time()
            await asyncio.sleep(5)
        assert lease.tried == 0
        assert health.not_ready() == []


@virtual
async def test_the_only_replica_stays_ready_and_reports_it():
    """Its webhooks answer 503 with Retry-After, which no other replica would do better."""
    lease = Lease(follows=False)
    async with report_problem(lease) as (health, client):
        await asyncio.sleep(300)
        assert health.not_ready() == []
        assert health.notes[0].startswith("writes: no write has succeeded for")
        client.written_at = asyncio.get_running_loop().time()
        await asyncio.sleep(3)
        assert health.notes == []
        assert lease.tried == 0
