"""What is forgotten when a trigger is deleted, and what comes back after it."""

import asyncio

from git_events_runner.flow.trigger_cleanup import TriggerCleanup
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from tests.flow.busy import reading_slowly
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster

REF = Ref("WebhookTrigger", "n", "hook")
SERIES = ("trigger_check_count_total{", "webhook_requests_count_total{", "jobs_queue_completed_count_total{")


def everything(metrics, ref):
    """A request, a check and a Job of a trigger end."""
    metrics.webhook_finished(ref.namespace, ref.name, 202, 0.1)
    metrics.check_finished(ref, 0.1, "skip-same")
    labels = {f"{GROUP}/trigger-kind": ref.kind, f"{GROUP}/trigger-name": ref.name}
    metrics.job_ended(labels, ref.namespace, "Succeed", 1.0)


def gone_of(cluster, lanes):
    """What follows deletions; the lanes that it forgets are put into a list."""
    return TriggerCleanup(
        store=cluster.store,
        forget_lane=lanes.append,
        forget_metrics=cluster.metrics.forget,
        with_metrics=cluster.metrics.triggers,
    )


@virtual
async def test_series_of_a_trigger_that_come_back_after_it_are_removed():
    """Its last Job ended after it; series of triggers that exist, and of unknown ones, stay."""
    cluster, lanes = Cluster(), []
    trigger = cluster.trigger()
    cluster.trigger(name="other")
    metrics = cluster.metrics
    async with running(gone=gone_of(cluster, lanes).run()):
        await asyncio.sleep(1)
        everything(metrics, REF)
        everything(metrics, Ref("WebhookTrigger", "n", "other"))
        metrics.webhook_finished(None, None, 404, 0.1)
        cluster.drop(REF)
        await until(lambda: lanes == [trigger["metadata"]["uid"]])
        assert [cluster.series(start) for start in SERIES] == [1, 2, 1]
        everything(metrics, REF)
        assert [cluster.series(start) for start in SERIES] == [2, 3, 2]
        await asyncio.sleep(61)
        assert [cluster.series(start) for start in SERIES] == [1, 2, 1]
        assert cluster.series("webhook_requests_duration_seconds_count{") == 2


def test_what_is_deleted_while_all_triggers_are_read_is_forgotten(monkeypatch):
    """Also when another trigger has its name by then; the lanes of the others stay."""

    @virtual
    async def check():
        cluster, lanes = Cluster(), []
        old = [cluster.trigger(name=f"t{number}")["metadata"]["uid"] for number in range(4)]
        reading_slowly(monkeypatch, cluster)
        async with running(gone=gone_of(cluster, lanes).run()):
            for _ in range(4):
                await asyncio.sleep(0)
            for number in (0, 3):
                cluster.drop(Ref("WebhookTrigger", "n", f"t{number}"))
            cluster.trigger(name="t3")
            await asyncio.sleep(1)
            assert sorted(lanes) == sorted([old[0], old[3]])
            cluster.drop(Ref("WebhookTrigger", "n", "t1"))
            await asyncio.sleep(1)
            assert lanes[2:] == [old[1]]

    check()
