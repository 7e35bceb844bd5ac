"""Servers of old gits: nothing is sent that they did not advertise, and what dies of v2 is spoken to in v0."""

from __future__ import annotations

import asyncssh
import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.protocol import Capabilities, fetch_request, ls_refs_request
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.errors import GitProtocolError, GitReferenceNotFound
from tests.edges.git.gitserver import commit, git, new_repository
from tests.edges.git.oldgit import DIED, dies_in_v2, like_git_2_25, real_old_git
from tests.edges.git.sshattacks import V2, serving

SERVERS = ("strict", "dies", "real", "v0")


@pytest.fixture(params=SERVERS)
def old_server(git_server, request):
    if request.param == "real":
        git_server.environment = real_old_git()
    git_server.strict = {"strict": like_git_2_25, "dies": dies_in_v2}.get(request.param)
    git_server.v2 = request.param != "v0"
    return git_server


async def test_everything_is_asked_of_old_servers(old_server, remote):
    """References, tags, a missing branch, a commit's files and its pack, again and again."""
    repository = new_repository(old_server.root / "app.git")
    made = commit(repository, {"a": b"1", "d/b": b"2"})
    git("tag", "-a", "-m", "m", "v1", made, cwd=repository)
    source = Repository(url=old_server.url("app.git"))
    for _ in range(2):
        assert (await remote.commit_of(GitRequest(source, Reference("branch", "main")))).commit == made
        assert (await remote.commit_of(GitRequest(source, Reference("tag", "v1")))).commit == made
        with pytest.raises(GitReferenceNotFound):
            await remote.commit_of(GitRequest(source, Reference("branch", "nope")))
    assert [entry.path for entry in await remote.tree(source, made)] == ["a", "d/b"]
    got = bytearray()
    assert await remote.pack(source, made, write=got.extend) == "sha1"
    assert got.startswith(b"PACK")
    second = commit(repository, {"a": b"2"}, parent=made)
    assert (await remote.commit_of(GitRequest(source, Reference("branch", "main")))).commit == second


@pytest.mark.parametrize("first", ["refs", "pack"])
async def test_one_fall_back_and_it_is_remembered(git_server, remote, first):
    """What dies of v2 costs one request to notice; from then on v2 is not offered to that repository."""
    repository = new_repository(git_server.root / "app.git")
    made = commit(repository, {"a": b"1"})
    git_server.strict = dies_in_v2
    source = Repository(url=git_server.url("app.git"))
    if first == "refs":
        await remote.commit_of(GitRequest(source, Reference("branch", "main")))
    else:
        await remote.pack(source, made, write=lambda _: None)
    assert [exchange.method for exchange in git_server.exchanges] == ["GET", "POST", "GET", "POST"][
        : 4 - (first == "refs")
    ]
    before = len(git_server.seen)
    await remote.commit_of(GitRequest(source, Reference("branch", "main")))
    await remote.pack(source, made, write=lambda _: None)
    assert [headers.get("Git-Protocol") for headers, _ in git_server.seen[before:]] == [None, None]
    git_server.strict = None
    git_server.replies["/app.git/info/refs"] = (200, {"Content-Type": "text/html"}, b"")
    with pytest.raises(GitProtocolError):
        await remote.commit_of(GitRequest(source, Reference("branch", "main")), urgent=True)
    git_server.replies.clear()
    await remote.commit_of(GitRequest(source, Reference("branch", "main")), urgent=True)
    assert git_server.seen[-1][0]["Git-Protocol"] == "version=2"


async def test_a_server_that_dies_in_every_version_is_given_up(git_server, remote):
    """No third attempt: the error says where to look."""
    commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    git_server.replies["/app.git/git-upload-pack"] = DIED
    source = Repository(url=git_server.url("app.git"))
    git_server.strict = lambda method, body: like_git_2_25(method, body) if method == "GET" else None
    with pytest.raises(GitProtocolError, match="without an answer"):
        await remote.pack(source, "1" * 40, write=lambda _: None)
    assert len(git_server.exchanges) == 4


async def test_compression_is_refused_in_words(git_server):
    """`Accept-Encoding: identity` is sent, for without it a server may compress; and v2 is offered by the header."""
    commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    remote = http_remote(Limits())
    try:
        await remote.commit_of(GitRequest(Repository(url=git_server.url("app.git")), Reference("branch", "main")))
    finally:
        await remote.close()
    assert [headers["Accept-Encoding"] for headers, _ in git_server.seen] == ["identity", "identity"]
    assert [headers["Git-Protocol"] for headers, _ in git_server.seen] == ["version=2", "version=2"]


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("offered", [set(), {"agent"}, {"object-format"}, {"agent", "object-format"}])
def test_only_what_was_offered_is_named(version, offered):
    """Agent and object format go to those servers that said that they take them, in every version."""
    capabilities = Capabilities(version=version, object_format="sha256", offered=frozenset(offered))
    for request in (ls_refs_request(capabilities, ["x"]), fetch_request(capabilities, "1" * 64, blobless=True)):
        if version == 0 and b"ls-refs" in request:
            continue
        assert (b"agent=" in request) == ("agent" in offered)
        assert (b"object-format=sha256" in request) == ("object-format" in offered)
        assert b"filter" not in request
        assert b"deepen" not in request
    assert packet(b"done" if version else b"done\n") in fetch_request(capabilities, "1" * 64, blobless=True)


async def test_the_fall_back_over_ssh():
    """A program that ends with a word on stderr only, once v2 was offered, is asked in v0 from then on."""
    keys = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    offers = []

    async def process(channel):
        offers.append("GIT_PROTOCOL" in channel.env)
        if offers[-1]:
            channel.stdout.write(V2)
            await channel.stdin.read(1)
            channel.stderr.write(b"fatal: unknown capability\n")
            return
        channel.stdout.write(packet(b"a" * 40 + b" refs/heads/main\0side-band-64k\n") + b"0000")
        await channel.stdin.read(4)

    async with serving(keys, process=process) as port:
        host = keys[1].export_public_key().decode().strip()
        access = SshAccess(private_key=keys[0].export_private_key().decode(), known_hosts=f"[127.0.0.1]:{port} {host}")
        source = Repository(url=f"ssh://git@127.0.0.1:{port}/x.git", ssh=access)
        remote = http_remote(Limits(deadline_s=20.0))
        try:
            for _ in range(3):
                answer = await remote.commit_of(GitRequest(source, Reference("branch", "main")))
                assert answer.commit == "a" * 40
        finally:
            await remote.close()
    assert offers == [True, False, False, False]
