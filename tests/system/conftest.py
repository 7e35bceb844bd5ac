"""Replicas that end with their test."""

import pytest

from tests.system.replica import Replica


@pytest.fixture
def replicas(control_plane, installation, tmp_path):
    """Starts replicas of one installation; `replicas(n, *options)`."""
    started = []

    def start(number, *options, wait=True, **more):
        replica = Replica(control_plane, tmp_path, installation, number, *options, **more)
        started.append(replica)
        return replica.wait_ready() if wait else replica

    yield start
    for replica in started:
        if replica.process.running:
            replica.kill()


@pytest.fixture
def world(api, installation, repository):
    """A GitRepo `app` and an Action `build` in the installation's namespace, on a fresh repository."""
    api.ours("GitRepo", installation, "app", {"repoUri": repository.url})
    api.ours("Action", installation, "build", {"actionJob": {"command": ["true"]}})
    return api


def sources(**watch):
    """`spec` parts that every trigger here has."""
    return {
        "sources": {"kind": "GitRepo", "names": ["app"], "watchOn": {"onChangeOnly": True, **watch}},
        "action": {"kind": "Action", "name": "build"},
    }
