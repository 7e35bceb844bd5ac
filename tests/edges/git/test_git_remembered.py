"""What is remembered of repositories has the size of what is configured, and goes with its source."""

from __future__ import annotations

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import GitAuthRequired
from tests.edges.git.gitserver import commit, new_repository

MAIN = Reference("branch", "main")
REPOSITORIES = 5


@pytest.fixture
def repositories(git_server):
    """More repositories than are remembered whatever is configured."""
    found = []
    for number in range(REPOSITORIES):
        commit(new_repository(git_server.root / f"r{number}.git"), {"a": b"1"})
        found.append(Repository(url=git_server.url(f"r{number}.git"), owner="n"))
    return found


async def asked(git_server, remote, repositories):
    """The methods of the requests that one round of checks takes."""
    before = len(git_server.exchanges)
    for repository in repositories:
        await remote.commit_of(GitRequest(repository, MAIN))
    return [exchange.method for exchange in git_server.exchanges[before:]]


@pytest.mark.parametrize(("room", "methods"), [(REPOSITORIES, ["POST"]), (0, ["GET", "POST"])])
async def test_a_check_is_one_request_however_many_repositories_are_configured(git_server, repositories, room, methods):
    """With room for each repository a round asks each once; without, a round in a cycle learns each one again."""
    remote = http_remote(Limits(remembered=2), room=lambda _: room)
    try:
        await asked(git_server, remote, repositories)
        assert await asked(git_server, remote, repositories) == methods * REPOSITORIES
    finally:
        await remote.close()


async def test_another_namespace_takes_no_room(git_server, repositories):
    """A namespace that brings in more repositories than it has room for costs its neighbour no request."""
    rooms = {"n": REPOSITORIES - 1, "evil": 1}
    remote = http_remote(Limits(remembered=2), room=rooms.__getitem__)
    evil = [
        Repository(url=each.url, credential=Credential.token(f"t{number}"), owner="evil")
        for number in range(5)
        for each in repositories[:1]
    ]
    try:
        await asked(git_server, remote, repositories[1:])
        await asked(git_server, remote, evil)
        assert await asked(git_server, remote, repositories[1:]) == ["POST"] * (REPOSITORIES - 1)
    finally:
        await remote.close()


async def test_what_is_remembered_goes_with_its_source(git_server, repositories):
    """A repository that is configured again later is learned again; the others are not, and failures are forgotten."""
    remote = http_remote(Limits(), room=lambda _: REPOSITORIES)
    try:
        await asked(git_server, remote, repositories)
        remote.forget({repositories[0].key})
        assert await asked(git_server, remote, repositories[:2]) == ["GET", "POST", "POST"]
        git_server.authorization = "Basic eDp5"
        with pytest.raises(GitAuthRequired):
            await asked(git_server, remote, repositories[:1])
        git_server.authorization = None
        with pytest.raises(GitAuthRequired):
            await asked(git_server, remote, repositories[:1])
        remote.forget({repositories[0].key})
        assert await asked(git_server, remote, repositories[:1]) == ["GET", "POST"]
    finally:
        await remote.close()
