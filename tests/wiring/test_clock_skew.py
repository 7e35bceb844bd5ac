"""What is reported of a clock that is wrong."""

import asyncio
from types import SimpleNamespace

from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from git_events_runner.wiring.clock_skew import ClockSkew
from tests.flow.virtual import virtual
from tests.flow.world import Cluster

REF = Ref("ConfigMap", "ger", "config")


@virtual
async def test_a_clock_that_is_off_is_reported_once_and_exported_always():
    """An Event of the ConfigMap when it begins; the metric has the skew while it lasts, and after it."""
    cluster, clock = Cluster(), SimpleNamespace(skew_s=None, wrong=False)
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "config", "namespace": "ger"}})
    watch = ClockSkew(
        clock=clock, metrics=cluster.metrics, announcer=cluster, store=cluster.store, ref=REF, identity="pod-1"
    )
    async with running(clock=watch.run()):
        await asyncio.sleep(11)
        clock.skew_s, clock.wrong = 86400.2, True
        await asyncio.sleep(3600)
        assert cluster.told == [
            (REF, "ClockSkewed", "the clock of pod-1 is 86400 s ahead of the API server's, whose time is used")
        ]
        assert cluster.series("clock_skew_seconds") == 86400.2
        clock.skew_s, clock.wrong = 0.5, False
        await asyncio.sleep(11)
        assert cluster.series("clock_skew_seconds") == 0.5
        clock.skew_s, clock.wrong = -20.0, True
        await asyncio.sleep(11)
    assert cluster.told[1][2] == "the clock of pod-1 is 20 s behind the API server's, whose time is used"
