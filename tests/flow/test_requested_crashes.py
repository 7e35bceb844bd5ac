"""Runs that twenty people request with one token, and a replica that is killed at one of its writes."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.annotation_requests import AnnotatedRequests
from git_events_runner.rules.annotated import RUN_ANNOTATION
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.serving import running
from tests.flow.program import REF, annotation
from tests.flow.replica import Replica
from tests.flow.test_annotation_requests import annotate
from tests.flow.test_retries import Crashing
from tests.flow.virtual import until, virtual
from tests.flow.world import A, Cluster, Fence, recorded

_TOKENS = ("one", "two", "three")


@asynccontextmanager
async def process(cluster):
    """A replica that is the leader, until it is killed."""
    made = Replica(cluster)
    annotated = AnnotatedRequests(
        store=cluster.store, writer=cluster, submit=made.lanes.submit, announcer=cluster, now=cluster.now, weight=equal
    )
    async with made.leading(), running(annotated=annotated.run_as_leader(Fence())):
        yield made


async def write_all(cluster):
    """Twenty people write each token, within some milliseconds; the next one when its run is recorded."""
    dice = random.Random(20)

    async def write(token):
        await asyncio.sleep(dice.uniform(0, 0.02))
        annotate(cluster, **{RUN_ANNOTATION: token})

    def is_handled(token):
        status = cluster.objects[REF]["status"]
        entry = entry_of(status, "app")
        return status.get("lastHandledRunRequestedAt") == token and entry.run_requested == entry.run_handled

    for token in _TOKENS:
        await asyncio.gather(*(write(token) for _ in range(20)))
        await until(lambda token=token: is_handled(token), within_s=120)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("number", range(1, 10))
def test_a_crash_at_any_write_neither_loses_nor_repeats_a_requested_run(number, done):
    """One Job for each token, whichever write of the replica was its last one."""

    @virtual
    async def check():
        cluster = Cluster()
        cluster.surroundings()
        cluster.trigger(status=recorded(runs=1, commit=A))
        crashing = Crashing(cluster, number, done=done)
        people = asyncio.ensure_future(write_all(cluster))
        waiting = asyncio.ensure_future(crashing.crashed.wait())
        async with process(cluster):
            await asyncio.wait([waiting, people], return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done()
        async with process(cluster) as made:
            await people
            await asyncio.sleep(60)
        found = sorted(made.jobs(), key=lambda job: job["metadata"]["creationTimestamp"])
        assert tuple(annotation(job, "run-requested-at") for job in found) == _TOKENS
        assert {annotation(job, "reason") for job in found} == {"fire-requested"}

    check()
