"""A trigger with sources on hosts that do not respond, on a real API server and real sockets."""

import contextlib
import socket
import time

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.patience import timed
from tests.system.conftest import sources

_INTERVAL_S = 2
_PUSHES = 6


@pytest.fixture
def dead():
    """URLs of ten hosts that take connections and never send a byte: sockets that nothing accepts from."""
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)) for _ in range(10)]
        yield [f"http://127.0.0.1:{each.getsockname()[1]}/dead.git" for each in listening]


def test_ten_dead_hosts_do_not_delay_the_healthy_source_of_their_trigger(
    world, installation, repository, replicas, dead
):
    """Its pushes run as soon as those of a trigger that names it alone, from the start on; the dead are reported."""
    names = [f"dead{number}" for number in range(len(dead))]
    for name, url in zip(names, dead, strict=True):
        world.ours("GitRepo", installation, name, {"repoUri": url})
    world.post(
        f"/api/v1/namespaces/{installation}/configmaps",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "git-events-runner-config"},
            "data": {"runtimeConfig": "git: {deadlineSeconds: 10}\n"},
        },
    )
    spec = sources() | {"schedule": {"interval": f"{_INTERVAL_S}s"}}
    many = {**spec, "sources": {**spec["sources"], "names": [*names, "app"]}}
    world.ours("ScheduleTrigger", installation, "alone", spec)
    world.ours("ScheduleTrigger", installation, "many", many)
    replicas(0)
    later_s = 0.0
    with Finisher(world, installation), timed() as watch:
        for count in range(1, _PUSHES + 1):
            seen = {}

            def both(seen=seen, count=count):
                for name in {"alone", "many"} - seen.keys():
                    if len(world.jobs(installation, name)) == count:
                        seen[name] = time.monotonic()
                return len(seen) == 2

            wait_until(f"both runs of push {count}", both, timeout_s=60)
            later_s += max(seen["many"] - seen["alone"], 0.0)
            repository.push({"README": f"{count}\n"})
    assert later_s / watch.slowness < _PUSHES * 2 * _INTERVAL_S

    def reported():
        checked = world.trigger(installation, "many", "ScheduleTrigger")["status"]["checkedSources"]
        return {(checked.get(name) or {}).get("problem", {}).get("reason") for name in names} == {"Timeout"}

    wait_until("the dead ones are reported", reported, timeout_s=60)
