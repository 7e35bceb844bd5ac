"""Failed runs that are run again, and the history that shows them, on a real API server."""

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

_GROUP = "git-events-runner.rs"
_TRIGGERS = [
    ("ScheduleTrigger", "scheduletriggers", {"schedule": {"interval": "1h"}}),
    ("WebhookTrigger", "webhooktriggers", {"webhook": {"multiSource": True}}),
]


@pytest.mark.parametrize(("kind", "plural", "spec"), _TRIGGERS)
def test_a_run_that_fails_is_run_again_across_kill_9(world, installation, replicas, kind, plural, spec):
    """Two further Jobs at the same commit, whichever replica is killed, and the history shows all three."""
    retry = {"limit": 2, "backoff": "2s"}
    world.ours(kind, installation, "again", sources() | spec | {"retry": retry})
    first = replicas(0)
    second = replicas(1)
    wait_until("one of them is the leader", lambda: first.leads or second.leads)
    if kind == "WebhookTrigger":
        assert first.post(f"/{installation}/again") == 202
    with Finisher(world, installation, failing=lambda _job: True):
        wait_until("the first retry", lambda: len(world.jobs(installation, "again")) >= 2)
        (first if first.leads else second).kill()
        wait_until("the last retry", lambda: len(world.jobs(installation, "again")) == 3, timeout_s=90)

        def history():
            return (world.trigger(installation, "again", kind).get("status") or {}).get("history") or []

        def failed():
            return [record.get("attempt") for record in history() if record.get("phase") == "Failed"]

        wait_until("the history shows them", lambda: failed() == ["3/3", "2/3", None], timeout_s=60)
    assert {record["commit"] for record in history()} == {history()[0]["commit"]}
    assert {job["metadata"]["annotations"][f"{_GROUP}/reason"] for job in world.jobs(installation, "again")} == {
        "fire-first",
        "retry",
    }
    table = world.call(
        "GET",
        f"{OURS}/namespaces/{installation}/{plural}",
        accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )
    columns = [column["name"] for column in table["columnDefinitions"]]
    row = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    assert (row["Result"], row["Commit"]) == ("Failed", history()[0]["commit"])
    assert row["Ran"]
