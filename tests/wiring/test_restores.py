"""A restored etcd is reported, and ends the process."""

import asyncio

import pytest

from git_events_runner.edges.kube.history import History
from git_events_runner.errors import ApiUnavailable, ClusterRestored
from git_events_runner.resources.kinds import KINDS, RESOURCE_QUOTA
from git_events_runner.resources.ref import Ref
from git_events_runner.wiring.restores import Restores
from tests.flow.virtual import at, virtual
from tests.flow.world import Cluster

CONFIG = Ref("ConfigMap", "n", "config")


def restores(cluster, history):
    return Restores(
        history=history, store=cluster.store, metrics=cluster.metrics, events=cluster, ref=CONFIG, identity="replica-0"
    )


def went_back(history):
    history.listed(KINDS["Job"], 100, "9", [])


@virtual
async def test_a_version_that_went_back_ends_the_process():
    """With an Event on the runtime config, and the counter."""
    cluster, history = Cluster(), History()
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "config", "namespace": "n"}})
    task = asyncio.ensure_future(restores(cluster, history).run())
    await asyncio.sleep(3600)
    assert not task.done()
    went_back(history)
    with pytest.raises(ClusterRestored, match="version 9"):
        await task
    assert [(ref, reason) for ref, reason, _ in cluster.told] == [(CONFIG, "ClusterRestored")]
    assert cluster.series("cluster_restores_total") == 1


@virtual
@pytest.mark.parametrize("slow", [True, False])
async def test_an_event_that_cannot_be_published_holds_nothing_up(slow):
    """The API server may be away again."""
    cluster, history = Cluster(), History()
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "config", "namespace": "n"}})

    async def record(ref, uid, **event):
        if slow:
            await asyncio.sleep(3600)
        raise ApiUnavailable("away")

    cluster.record = record
    went_back(history)
    with pytest.raises(ClusterRestored):
        await restores(cluster, history).run()
    assert at() <= 5


@virtual
async def test_what_the_cache_knows_is_compared():
    """The history asks the store for the version of an object."""
    cluster, history = Cluster(), History()
    made = cluster.trigger()
    restores(cluster, history)
    known = history.known(cluster.ref(made))
    assert known == (made["metadata"]["uid"], int(made["metadata"]["resourceVersion"]))


@virtual
async def test_objects_that_are_never_kept_are_compared_with_nothing():
    """A list of quotas counts by its own version alone."""
    cluster, history = Cluster(), History()
    restores(cluster, history)
    quota = {"metadata": {"name": "q", "namespace": "n", "uid": "u", "resourceVersion": "7"}}
    history.listed(RESOURCE_QUOTA, 5, "9", [quota])
    assert history.problem is None
    assert history.highest("ResourceQuota") == 9
