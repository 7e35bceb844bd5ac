"""etcd restored from an older snapshot under running replicas: on an API server of the tests' own."""

import pytest

from tests.chaos.servers import servers
from tests.cluster import binaries
from tests.cluster.plane import wait_until
from tests.servers import git
from tests.system.conftest import sources
from tests.system.replica import Replica
from tests.system.roles import bind


@pytest.fixture
def estate(tmp_path):
    """An installation whose etcd may be put back."""
    try:
        with servers(tmp_path) as (plane, api, git_server):
            api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}})
            yield Estate(plane, api, bind(api, "home"), git_server, tmp_path)
    except (binaries.Unavailable, git.Unavailable) as missing:
        pytest.skip(str(missing))


class Estate:
    """What the tests do to it."""

    def __init__(self, plane, api, home, git_server, folder):
        self.plane, self.api, self.home, self.folder = plane, api, home, folder
        self.repository = git_server.repository()
        self.repository.push({"README": "one\n"})
        config = {"metadata": {"name": "git-events-runner-config"}, "data": {"runtimeConfig": "{}\n"}}
        api.post(f"/api/v1/namespaces/{home}/configmaps", {"apiVersion": "v1", "kind": "ConfigMap"} | config)
        api.ours("GitRepo", home, "app", {"repoUri": self.repository.url})
        api.ours("Action", home, "build", {"actionJob": {"command": ["true"]}})

    def hook(self, name):
        self.api.ours(
            "WebhookTrigger", self.home, name, sources(onChangeOnly=False) | {"webhook": {"multiSource": True}}
        )

    def entry(self, name):
        trigger = self.api.trigger(self.home, name)
        return ((trigger.get("status") or {}).get("checkedSources") or {}).get("app") or {}

    def deliver(self, replica, name):
        """A delivery that is accepted; its run is recorded."""
        before = self.entry(name).get("runs") or 0
        wait_until(f"a delivery to {name} is taken", lambda: replica.post(f"/{self.home}/{name}") == 202)
        wait_until(f"the run of {name}", lambda: (self.entry(name).get("runs") or 0) > before)


@pytest.fixture
def replicas(estate):
    """Starts replicas of that installation."""
    started = []

    def start(number):
        replica = Replica(estate.plane, estate.folder, estate.home, number)
        started.append(replica)
        return replica.wait_ready()

    yield start
    for replica in started:
        if replica.process.running:
            replica.kill()


def test_replicas_notice_a_restored_etcd_and_start_from_what_is_there(estate, replicas):
    """No delivery after the restore is answered with 202 and lost; an API server that was merely away is no restore."""
    for name in ("old", "removed"):
        estate.hook(name)
    both = [replicas(0), replicas(1)]
    estate.deliver(both[0], "old")
    estate.plane.back_up()  # API server and etcd are stopped and started, on the same data
    for replica in both:
        replica.wait_ready()
    estate.deliver(both[0], "old")
    estate.deliver(both[1], "old")
    lost = {job["metadata"]["name"] for job in estate.api.jobs(estate.home, "old")}
    estate.api.delete(f"/apis/git-events-runner.rs/v1alpha1/namespaces/{estate.home}/webhooktriggers/removed")
    assert all(replica.process.running for replica in both)

    estate.plane.restore()
    taken = 0
    for replica in both:
        while replica.process.running:
            taken += replica.post(f"/{estate.home}/old", timeout_s=2) == 202
        assert replica.process.wait() == 1
        assert "cluster.restored" in replica.process.text()
        assert "controller.failed" in replica.process.text()
    assert taken == 0
    assert estate.entry("old")["runs"] == 1
    assert len(lost) == 3
    assert len(estate.api.jobs(estate.home, "old")) == 1

    def reasons():
        events = estate.api.items(f"/apis/events.k8s.io/v1/namespaces/{estate.home}/events")
        return {event["reason"] for event in events}

    assert "ClusterRestored" in reasons()
    for replica in both:
        replica.restart()
        replica.wait_ready()
    for name in ("old", "removed"):
        estate.deliver(both[1], name)
    assert all(replica.process.running for replica in both)
