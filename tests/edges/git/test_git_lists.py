"""Lists of references: all that begin like the watched ones, in one bounded exchange."""

import asyncio
import time
import tracemalloc

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.protocol import MOST_REFERENCES
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.errors import GitCutOff, GitTooManyReferences
from tests.edges.git.gitserver import commit, git, new_repository, scripted

HEADS = ("refs/heads/",)
ADVERTISED = packet(b"# service=git-upload-pack\n") + b"0000" + packet(b"version 2\n") + packet(b"ls-refs\n") + b"0000"


@pytest.fixture
def repository(git_server):
    return new_repository(git_server.root / "app.git")


def references(repository, commits):
    """Create or move references, all in one call of git."""
    lines = "".join(f"update {name} {made}\n" for name, made in commits.items())
    git("update-ref", "--stdin", cwd=repository, stdin=lines.encode())


@pytest.mark.parametrize("v2", [True, False])
async def test_a_list_has_the_references_that_begin_like_this(git_server, repository, remote, v2):
    """Branches and tags come with their commits, annotated tags with their own id too, and nothing else comes."""
    git_server.v2 = v2
    first = commit(repository, {"a": b"1"})
    references(repository, {"refs/heads/release/1": first, "refs/heads/rel": first, "refs/notes/x": first})
    git("tag", "-a", "-m", "m", "v1", first, cwd=repository)
    source = Repository(url=git_server.url("app.git"))
    found = await remote.references(source, ("refs/heads/release/", "refs/tags/"))
    tag = git("rev-parse", "v1", cwd=repository)
    assert found.refs == {"refs/heads/release/1": (first, None), "refs/tags/v1": (first, tag)}
    assert found.alive


async def test_a_repository_that_shows_nothing_at_all_is_not_alive(git_server, repository, remote):
    """No reference below the beginning, but HEAD: the list is empty and can be trusted; without HEAD it cannot."""
    source = Repository(url=git_server.url("app.git"))
    assert not (await remote.references(source, HEADS)).alive
    commit(repository, {"a": b"1"})
    found = await remote.references(source, ("refs/tags/",))
    assert (dict(found.refs), found.alive) == ({}, True)


async def test_a_thousand_branches_are_one_small_exchange(git_server, repository, remote):
    """1,000 branches cost one request of at most 120 KB, and at most 15 ms of CPU time."""
    made = commit(repository, {"a": b"1"})
    references(repository, {f"refs/heads/feature/ticket-{number:04}": made for number in range(1000)})
    source = Repository(url=git_server.url("app.git"))
    await remote.references(source, HEADS)
    git_server.exchanges.clear()
    costs = []
    for _ in range(5):
        began = time.thread_time()
        found = await remote.references(source, HEADS)
        costs.append(time.thread_time() - began)
        assert len(found.refs) == 1001
    assert [one.method for one in git_server.exchanges] == ["POST"] * 5
    assert max(one.size_bytes for one in git_server.exchanges) <= 120_000
    assert min(costs) <= 0.015


async def test_lists_share_exchanges_among_themselves(git_server, repository, remote):
    """Lists requested together are one exchange, apart from that of a single reference."""
    made = commit(repository, {"a": b"1"})
    references(repository, {"refs/heads/x": made, "refs/tags/v1": made})
    source = Repository(url=git_server.url("app.git"))
    question = GitRequest(source, Reference("branch", "main"))
    await remote.commit_of(question)
    git_server.exchanges.clear()
    heads, tags, one = await asyncio.gather(
        remote.references(source, HEADS), remote.references(source, ("refs/tags/",)), remote.commit_of(question)
    )
    assert set(heads.refs) == {"refs/heads/main", "refs/heads/x"}
    assert set(tags.refs) == {"refs/tags/v1"}
    assert one.commit == made
    assert len(git_server.exchanges) == 2


def answering(lines, *, whole=True):
    """A server that lists these references to all clients."""

    async def script(reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0
            )
            await reader.readexactly(length)
            kind = b"advertisement" if head.startswith(b"GET") else b"result"
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
            writer.write(b"Content-Type: application/x-git-upload-pack-%s\r\n\r\n" % kind)
            for part in [ADVERTISED] if head.startswith(b"GET") else lines(b"0000" if whole else b""):
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                await writer.drain()
            writer.write(b"0\r\n\r\n")

    return scripted(script)


def many(count):
    """So many references, a thousand in a part."""

    def lines(end):
        for first in range(0, count, 1000):
            yield b"".join(
                packet(b"%040x refs/heads/b%d\n" % (n + 1, n)) for n in range(first, min(first + 1000, count))
            )
        if end:
            yield end

    return lines


async def test_an_answer_that_is_cut_is_no_list():
    """What ends before git says that it has ended is an error, however many references came."""
    remote = http_remote(Limits())
    async with answering(many(500), whole=False) as url:
        with pytest.raises(GitCutOff):
            await remote.references(Repository(url=url), HEADS)
    await remote.close()


async def test_a_million_references_are_an_error_in_bounded_memory():
    """A server that lists a million references is read as far as the bound, and takes less than 24 MiB."""
    remote = http_remote(Limits(refs_bytes=256 * 2**20))
    async with answering(many(1_000_000)) as url:
        tracemalloc.start()
        try:
            with pytest.raises(GitTooManyReferences, match=f"more than {MOST_REFERENCES:,} references"):
                await remote.references(Repository(url=url), HEADS)
            assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
        finally:
            tracemalloc.stop()
    await remote.close()


async def test_a_list_that_is_too_long_has_the_same_reason():
    """The bound of bytes, too, is reported as too many references, with what to do."""
    remote = http_remote(Limits(refs_bytes=64 * 1024))
    async with answering(many(10_000)) as url:
        with pytest.raises(GitTooManyReferences, match="narrow the patterns"):
            await remote.references(Repository(url=url), HEADS)
    await remote.close()
