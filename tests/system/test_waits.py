"""Changes that wait, on a real API server."""

import pytest

from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

_CLOSED = [{"deny": "* * * * *", "duration": "1h", "timeZone": "Europe/Berlin"}]
_TRIGGERS = {
    "WebhookTrigger": {"webhook": {"multiSource": True}},
    "ScheduleTrigger": {"schedule": {"interval": "1s"}},
}


@pytest.mark.parametrize("kind", _TRIGGERS)
def test_pushes_outside_a_window_are_one_run_when_it_opens(world, installation, repository, replicas, kind):
    """The condition says what waits, also for a replica that starts later; the newest commit runs, once."""
    world.ours(kind, installation, "waits", sources() | _TRIGGERS[kind] | {"windows": _CLOSED})

    def waits():
        status = world.trigger(installation, "waits", kind).get("status") or {}
        found = {one["type"]: one for one in status.get("conditions") or ()}
        return found.get("Waiting")

    def call():
        if kind == "WebhookTrigger":
            assert replica.post(f"/{installation}/waits") == 202

    replica = replicas(0)
    wait_until("the replica leads", lambda: replica.leads)
    call()
    assert wait_until("the change waits", waits)["reason"] == "OutsideWindows"
    for number in range(3):
        newest = repository.push({"README": f"{number}\n"})
        call()
    replica.kill()
    replica = replicas(1)
    wait_until("the other replica leads", lambda: replica.leads, timeout_s=60)
    wait_until("the newest commit waits", lambda: newest[:12] in (waits() or {}).get("message", ""), timeout_s=60)
    assert world.jobs(installation, "waits") == []
    path = f"{OURS}/namespaces/{installation}/{kind.lower()}s/waits"
    world.patch(path, {"spec": {"windows": []}})
    [job] = wait_until("the run", lambda: world.jobs(installation, "waits"))
    assert job["metadata"]["annotations"]["git-events-runner.rs/commit"] == newest
    wait_until("nothing waits", lambda: waits() is None)
    assert len(world.jobs(installation, "waits")) == 1
