"""Bytes of HTTP that are no content: counted, whatever they are, and ended when they are too many."""

import time

import aiohttp
import pytest

from git_events_runner.edges.git import http_remote
from git_events_runner.edges.git.http.framing import HEAD_BYTES, CountingHandler, count_on
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.errors import GitProtocolError
from tests.edges.git import attacks
from tests.edges.git.gitserver import commit, new_repository, scripted


def question(url):
    return GitRequest(Repository(url=f"{url}/x.git"), Reference("branch", "main"))


@pytest.fixture
async def patient():
    """A remote whose deadline no attack below may need."""
    made = http_remote(Limits(deadline_s=60.0))
    yield made
    await made.close()


@pytest.mark.parametrize(
    "script",
    [
        attacks.endless_continue,
        attacks.endless_hints,
        attacks.endless_headers,
        attacks.endless_extension,
        attacks.endless_trailers,
        attacks.endless_small_chunks,
    ],
)
async def test_framing_without_end(patient, script):
    """Whatever a server sends without end beside its answer ends the question, for less than a second of work."""
    async with scripted(script) as url:
        started = time.process_time()
        with pytest.raises(GitProtocolError):
            await patient.commit_of(question(url))
        assert time.process_time() - started < 1.0


async def test_responses_that_nobody_asked_for(patient):
    """A connection on which answers come unasked is not used again, and costs no more than its buffers."""
    async with scripted(attacks.unasked_responses) as url:
        started = time.process_time()
        with pytest.raises(GitProtocolError):
            await patient.commit_of(question(url))
        assert time.process_time() - started < 1.0


async def test_a_few_informational_responses(patient):
    """Early hints before each answer are no reason to refuse it."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3
    async with scripted(attacks.answering(attacks.listed(b"refs/heads/main"), before=hints)) as url:
        for _ in range(20):
            assert (await patient.commit_of(question(url))).commit == "a" * 40


async def test_a_real_server_is_served(patient, git_server):
    """A real server's chunked answers, hundreds on one connection, never count as too much."""
    made = commit(new_repository(git_server.root / "app.git"), {f"f{number}": b"x" for number in range(500)})
    there = GitRequest(Repository(url=git_server.url("app.git")), Reference("branch", "main"))
    for _ in range(100):
        assert (await patient.commit_of(there)).commit == made
    assert len(await patient.tree(there.repository, made)) == 500


async def test_every_connector_counts():
    """The canary: aiohttp makes its connections' protocols by the factory that is replaced, and calls what is extended.

    Raised by an upgrade of aiohttp? `edges/git/http/framing.py` says what to compare.
    """
    connector = count_on(aiohttp.TCPConnector())
    async with scripted(attacks.refusing(200)) as url, aiohttp.ClientSession(connector=connector) as session:
        async with session.get(url) as answer:
            protocol = answer.connection.protocol if answer.connection else None
            await answer.read()
        if protocol is None:
            (kept,) = connector._conns.values()
            protocol = kept[0][0]
        assert isinstance(protocol, CountingHandler)
        assert 0 < protocol._received < HEAD_BYTES
        assert not protocol._in_head
