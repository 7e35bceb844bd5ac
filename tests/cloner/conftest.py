"""A git server, a repository on it, and an empty place for the clone."""

import pytest

from tests.edges.git.gitserver import GitServer, new_repository


@pytest.fixture
def server(tmp_path):
    with GitServer(tmp_path / "served") as made:
        yield made


@pytest.fixture
def repository(server):
    return new_repository(server.root / "app.git")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"
