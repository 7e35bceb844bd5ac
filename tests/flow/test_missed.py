"""Deliveries that never came: told a minute after a poll found the commit, by namespace in turn."""

import asyncio

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.webhooks.missed import MissedDeliveries
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.serving import running
from tests.flow.virtual import at, until, virtual
from tests.flow.world import WEBHOOK, A, Cluster


def hook(cluster, namespace, name="hook"):
    """A WebhookTrigger, and the request of the poll that found its commit."""
    spec = {"sources": {"names": ["app"]}, "action": {"kind": "Action", "name": "build"}, "webhook": WEBHOOK}
    made = cluster.put({"kind": "WebhookTrigger", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    ref, uid = Ref("WebhookTrigger", namespace, name), made["metadata"]["uid"]
    return CheckRequest(trigger=ref, uid=uid, source="app", due_at="2026-05-06T07:00:00Z", fence=None, tasks=())


def missed_of(cluster):
    return MissedDeliveries(
        store=cluster.store,
        writer=cluster,
        announcer=cluster,
        metrics=cluster.metrics,
        now=cluster.now,
        weight=equal,
    )


@virtual
async def test_a_commit_that_no_delivery_announced_is_reported_after_a_minute():
    """With an Event and a warning of the trigger; not before the forge had its time."""
    cluster = Cluster()
    missed, request = missed_of(cluster), hook(cluster, "n")
    async with running(missed=missed.run()):
        missed.note(request, A)
        await asyncio.sleep(59)
        assert cluster.told == []
        await until(lambda: cluster.told, within_s=3)


@virtual
async def test_finds_of_one_namespace_neither_delay_nor_outlast_those_of_another():
    """Five thousand of a tenant whose statuses are written slowly: a neighbour's is reported in its turn."""
    cluster = Cluster()
    cluster.latency_s = 1.0
    missed, evil, good = missed_of(cluster), hook(cluster, "evil"), hook(cluster, "good")
    async with running(missed=missed.run()):
        for _ in range(5000):
            missed.note(evil, A)
        missed.note(good, A)
        await until(lambda: any("good" in str(told) for told in cluster.told))
        assert at() <= 65
        await asyncio.sleep(1000)
    assert sum("evil" in str(told) for told in cluster.told) == 200
