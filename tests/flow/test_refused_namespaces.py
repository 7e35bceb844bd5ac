"""A namespace that the API server refuses to show: nothing is concluded from what is not known of it."""

import asyncio

from git_events_runner.rules.ledger.entry import entry_of
from tests.flow import test_reconciler as reconciles
from tests.flow import test_results as results
from tests.flow.hooks import served, trigger
from tests.flow.program import REF, program
from tests.flow.test_queue import leading, queue_of
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster, recorded


@virtual
async def test_no_check_is_done_in_a_namespace_that_is_refused():
    """Git is not asked and no Job is made: there may be Jobs that cannot be seen."""
    made = program()
    made.cluster.refuse("Job")
    await made.check()
    assert (made.git.asked, made.jobs()) == (0, [])
    made.cluster.allow()
    await made.check()
    assert len(made.jobs()) == 1


@virtual
async def test_a_check_that_cannot_report_does_not_try():
    """Where the trigger itself is refused no status is written, check after check."""
    made = program()
    made.cluster.refuse("WebhookTrigger")
    writes = len(made.cluster.made("write"))
    for _ in range(3):
        await made.check()
    assert len(made.cluster.made("write")) == writes


@virtual
async def test_a_source_that_cannot_be_read_is_not_reported_as_missing():
    """The condition names the namespace that is refused, and is over when it can be read."""
    cluster = Cluster()
    cluster.refuse("GitRepo")
    cluster.surroundings()
    cluster.trigger()
    async with reconciles.reconciling(cluster):
        await until(lambda: reconciles.conditions(cluster).get("Reconciling") == ("True", "NamespaceRefused"))
        assert "Stalled" not in reconciles.conditions(cluster)
        cluster.allow()
        await until(lambda: "Reconciling" not in reconciles.conditions(cluster))


@virtual
async def test_no_entry_is_removed_while_jobs_cannot_be_seen():
    """A Job above the record may be there: the entry of a removed source waits until it is known."""
    cluster = Cluster()
    cluster.surroundings()
    status = recorded()
    status["checkedSources"]["old"] = dict(status["checkedSources"]["app"])
    cluster.refuse("Job")
    cluster.trigger(status=status)
    async with reconciles.reconciling(cluster):
        await asyncio.sleep(60)
        assert entry_of(cluster.objects[REF]["status"], "old").exists
        cluster.allow()
        await until(lambda: not entry_of(cluster.objects[REF]["status"], "old").exists)


@virtual
async def test_a_trigger_that_is_refused_is_not_reconciled_until_it_is_shown():
    """No request is sent for it again and again; when its namespace joins, it is reconciled without another change."""
    cluster = Cluster()
    cluster.trigger()
    cluster.refuse("WebhookTrigger")
    async with reconciles.reconciling(cluster):
        await asyncio.sleep(60)
        assert cluster.calls == []
        cluster.allow()
        await until(lambda: "Stalled" in reconciles.conditions(cluster))


@virtual
async def test_a_job_that_cannot_be_seen_is_not_gone():
    """Its phase stays as recorded for as long as it is refused, and is right again when the namespace joins."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded())
    cluster.refuse("Job")
    job = cluster.job(trigger, suspend=False)
    last = {"name": job["metadata"]["name"], "phase": "Running"}
    cluster.change(REF, status=recorded(lastJob=last) | {"state": "Running"})
    async with results.following(cluster):
        await asyncio.sleep(120)
        assert results.phase(cluster) == ("Running", "Running")
        cluster.finish(job)
        await asyncio.sleep(120)
        assert results.phase(cluster) == ("Running", "Running")
        cluster.allow()
        await until(lambda: results.phase(cluster) == ("Idle", "Succeeded"))


@virtual
async def test_jobs_that_had_ended_before_their_namespace_joined_are_not_reported():
    """As at the start of a leadership; the end of one that was known as running is."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=2))
    known = cluster.job(trigger, number=2, suspend=False)
    cluster.refuse("Job")
    cluster.finish(cluster.job(trigger, number=1, suspend=False))
    async with results.following(cluster):
        await asyncio.sleep(5)
        cluster.finish(known)
        await asyncio.sleep(5)
        cluster.allow()
        await until(lambda: cluster.reasons)
        await asyncio.sleep(60)
    assert cluster.reasons == ["JobSucceeded"]
    assert cluster.series("jobs_queue_completed_count_total{") == 1


@virtual
async def test_a_waiting_job_that_cannot_be_seen_does_not_expire():
    """It may have been started; its waiting time begins when it can be read."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = cluster.trigger(status=recorded())
    job = cluster.job(trigger, reason="fire-always")
    cluster.refuse("Job")
    async with leading(queue_of(cluster, limit=0)):
        await asyncio.sleep(600)
        assert cluster.made("delete") == []
        cluster.allow()
        await until(lambda: cluster.ref(job) not in cluster.objects, within_s=320)


async def test_webhooks_to_a_refused_namespace_get_503():
    """Its triggers cannot be known: 503, with and without one answer for all; other namespaces are served."""
    for uniform in (False, True):
        async with served(objects=[trigger("open", namespace="known")], uniform=uniform) as port:
            port.store.scopes.refuse("shut", "WebhookTrigger", "is forbidden")
            port.store.scopes.refuse("ns", "WebhookTrigger", "is forbidden")
            assert await port.post("/shut/any") == 503
            assert await port.post("/shut") == 503
            assert await port.post("/shut/any/app") == 503
            assert await port.post("/elsewhere/any") == 404
            assert await port.post("/known/open") == 202
            assert await port.post("/ns/open") == 202
            assert await port.post("/ns/other") == 503
