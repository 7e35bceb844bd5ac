"""Fixtures of the git edge: a real git server, private certificates, and the edge itself."""

from __future__ import annotations

import pytest

from git_events_runner.edges.git import Limits, http_remote
from tests.edges.git.gitserver import Certificates, GitServer


@pytest.fixture
def git_server(tmp_path):
    with GitServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def remote():
    made = http_remote(Limits(deadline_s=60.0))
    yield made
    await made.close()
