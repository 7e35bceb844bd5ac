"""Statuses of one namespace that cannot be written for minutes delay nothing that other namespaces' triggers show."""

import asyncio

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiError
from git_events_runner.flow.webhooks.missed import MissedDeliveries
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from tests.flow.test_concurrent_admissions import busy
from tests.flow.test_missed import hook as polled
from tests.flow.test_missed import missed_of
from tests.flow.test_reconciler import conditions, reconciling
from tests.flow.test_secret_checks import Reader, checking, hook, ready
from tests.flow.virtual import at, until, virtual
from tests.flow.world import A, Cluster

HOWS = ["refused", "429", "hangs"]
TRIGGERS = 30


class Refusing(Cluster):
    """Writes to the namespace `bad` are refused, or hang, and each is noted."""

    def __init__(self, how):
        super().__init__()
        self.how, self.attempts = how, []

    async def write(self, ref, uid, *mutations):
        if ref.namespace == "bad" and self.how:
            self.attempts.append(ref)
            await asyncio.sleep(400 if self.how == "hangs" else 0.001)
            raise busy() if self.how == "429" else ApiError("no")
        return await super().write(ref, uid, *mutations)


@pytest.mark.parametrize("how", HOWS)
def test_conditions_of_other_namespaces_come_within_a_second(how):
    """What cannot be written backs off, is not tried for every change, and is written when it is taken again."""

    @virtual
    async def check():
        cluster = Refusing(how)
        bad = [polled(cluster, "bad", f"bad{number}").trigger for number in range(TRIGGERS)]
        async with reconciling(cluster):
            for number in range(10):
                await asyncio.sleep(3.3)
                good, made = polled(cluster, "good", f"good{number}").trigger, at()
                await until(lambda good=good: conditions(cluster, good), within_s=10)
                assert at() - made <= 1
            cluster.attempts.clear()
            for _ in range(60):
                for ref in bad:
                    cluster.change(ref, status={"deliveries": str(at())})
                await asyncio.sleep(1)
            assert TRIGGERS <= len(cluster.attempts) <= TRIGGERS * 7
            cluster.how = None
            await until(lambda: all(conditions(cluster, ref) for ref in bad), within_s=400 if how == "hangs" else 16)

    check()


@pytest.mark.parametrize("how", HOWS)
def test_problems_with_secrets_of_other_namespaces_come_within_seconds(how):
    """The reads are paced; the writes wait for none of another trigger."""

    @virtual
    async def check():
        cluster = Refusing(how)
        for number in range(TRIGGERS):
            hook(cluster, "bad", f"bad{number}")
        async with checking(cluster, Reader()):
            for number in range(10):
                await asyncio.sleep(7)
                hook(cluster, "good", f"good{number}")
                found = Ref("WebhookTrigger", "good", f"good{number}")
                await until(lambda found=found: ready(cluster, found), within_s=1.5)
            cluster.how = None
            await until(lambda: ready(cluster, Ref("WebhookTrigger", "bad", "bad0")), within_s=700)

    check()


@pytest.mark.parametrize("how", HOWS)
def test_missed_deliveries_of_other_namespaces_are_shown_within_a_second(how):
    """The warning of each source is written by itself, and not tried again: a delivery may clear it any time."""

    @virtual
    async def check():
        cluster = Refusing(how)
        missed = missed_of(cluster)
        async with running(missed=missed.run()):
            bad = [polled(cluster, "bad", f"bad{number}") for number in range(TRIGGERS)]
            good = polled(cluster, "good")
            ready_now = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
            cluster.change(good.trigger, status={"conditions": [ready_now]})
            for request in [*bad, good]:
                missed.note(request, A)
            await asyncio.sleep(60)
            await until(lambda: "which no delivery announced" in str(cluster.objects[good.trigger]), within_s=1)
            await asyncio.sleep(600)
            assert len(cluster.attempts) == TRIGGERS

    check()


@virtual
async def test_a_missed_delivery_found_twice_is_written_once_with_the_last_commit():
    """While the first write is under way the second find of the same source takes the place of others that wait."""

    class Slow(Cluster):
        async def write(self, ref, uid, *mutations):
            written.append(mutations[0].message[19:31])
            await asyncio.sleep(5)
            return await super().write(ref, uid, *mutations)

    written, cluster = [], Slow()
    missed = MissedDeliveries(
        store=cluster.store,
        writer=cluster,
        announcer=cluster,
        metrics=cluster.metrics,
        now=cluster.now,
        weight=equal,
        grace_s=1.0,
    )
    request = polled(cluster, "n")
    async with running(missed=missed.run()):
        for commit in "abcd":
            missed.note(request, commit * 40)
            await asyncio.sleep(0.5)
        await asyncio.sleep(30)
    assert written == ["a" * 12, "d" * 12]


@virtual
async def test_a_write_without_an_answer_is_counted_as_failed():
    """The metric of the contract counts it, and the log names the trigger."""
    cluster = Refusing("hangs")
    spec = {"sources": {"names": ["app"]}, "action": {"kind": "Action", "name": "no"}, "schedule": {"interval": "1h"}}
    cluster.put({"kind": "ScheduleTrigger", "metadata": {"name": "t", "namespace": "bad"}, "spec": spec})
    async with reconciling(cluster):
        await until(lambda: cluster.series("failed_reconcile_count_total{"), within_s=30)
