"""What references lead to, and the HTTP around it: whatever git accepts, and what is no commit is said at the check."""

from __future__ import annotations

from contextlib import suppress

import pytest

from git_events_runner.edges.git.pack_front import PackFront
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.errors import GitError, GitReferenceNotFound
from tests.edges.git.gitserver import commit, git, new_repository, scripted
from tests.edges.git.oldgit import like_git_2_25


@pytest.mark.parametrize("server", ["v2", "v0", "old"])
@pytest.mark.parametrize("form", ["sha1", "sha256"])
async def test_a_tag_that_leads_to_no_commit_is_said_at_the_check(git_server, remote, server, form):
    """Tags of trees and files, light, annotated and twice annotated, are refused by name; those of commits are not."""
    if (server, form) == ("old", "sha256"):
        pytest.skip("git 2.25 knows no sha256")
    git_server.v2 = server != "v0"
    git_server.strict = like_git_2_25 if server == "old" else None
    repository = new_repository(git_server.root / "app.git", f"--object-format={form}")
    made = commit(repository, {"a": b"1", "d/b": b"2"})
    for name, target in (("tree", f"{made}^{{tree}}"), ("blob", f"{made}:a"), ("commit", made)):
        git("tag", f"light-{name}", target, cwd=repository)
        git("tag", "-a", "-m", "m", f"of-{name}", target, cwd=repository)
        git("tag", "-a", "-m", "m", f"twice-{name}", f"of-{name}", cwd=repository)
        git("update-ref", f"refs/other/{name}", target, cwd=repository)
    source = Repository(url=git_server.url("app.git"))
    for reference in [Reference("tag", f"{how}-commit") for how in ("light", "of", "twice")]:
        assert (await remote.commit_of(GitRequest(source, reference))).commit == made
    assert (await remote.commit_of(GitRequest(source, Reference("branch", "refs/other/commit")))).commit == made
    for name in ("tree", "blob"):
        for reference in (
            *(Reference("tag", f"{how}-{name}") for how in ("light", "of", "twice")),
            Reference("branch", f"refs/other/{name}"),
        ):
            if server == "v0" and reference.name.startswith(("of", "twice")):
                continue  # a server that speaks v0 need not give what is not advertised
            with pytest.raises(GitReferenceNotFound, match=f"points to a {name}, not to a commit"):
                await remote.commit_of(GitRequest(source, reference))


async def test_what_a_tag_leads_to_is_asked_once(git_server, remote):
    """One small request when a tag moves, none at the checks between."""
    repository = new_repository(git_server.root / "app.git")
    made = commit(repository, {f"f{n}": b"x" * 1000 for n in range(1000)})
    git("tag", "-a", "-m", "m", "v1", made, cwd=repository)
    question = GitRequest(Repository(url=git_server.url("app.git")), Reference("tag", "v1"))
    for _ in range(3):
        await remote.commit_of(question)
    assert [each.method for each in git_server.exchanges] == ["GET", "POST", "POST", "POST", "POST"]
    git("tag", "-f", "-a", "-m", "m", "v1", commit(repository, {"a": b"2"}, parent=made), cwd=repository)
    await remote.commit_of(question)
    await remote.commit_of(question)
    assert len(git_server.exchanges) == 5 + 3


@pytest.mark.parametrize("size", [1, 13, 100])
@pytest.mark.parametrize(("byte", "kind"), [(0x95, "commit"), (0x25, "tree"), (0x3F, "blob"), (0x60, "unknown")])
def test_the_front_of_a_pack_in_any_parts(size, byte, kind):
    """The kind is known with the first byte of the first object, however it is cut; what is no pack is unknown."""
    front, pack = PackFront(), b"PACK" + bytes(7) + b"\1" + bytes([byte]) + b"x" * 99
    fed = 0
    with suppress(PackFront.Seen):
        for at in range(0, len(pack), size):
            fed = at + size
            front.feed(pack[at : at + size])
    assert front.kind == kind
    assert fed < 13 + size
    with pytest.raises(PackFront.Seen):
        PackFront().feed(b"<html>" * 10)


def head(lines):
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n" + lines + b"\r\n"


_BODY = packet(b"# service=git-upload-pack\n") + b"0000" + packet(b"a" * 40 + b" refs/heads/main\0\n") + b"0000"


@pytest.mark.parametrize(
    ("lines", "accepted"),
    [
        (b"X-Policy: " + b"p" * 90_000 + b"\r\n", True),
        (b"".join(b"X-%d: %s\r\n" % (n, b"v" * 50) for n in range(2000)), True),
        (b"".join(b"Set-Cookie: a%d=%s\r\n" % (n, b"v" * 3000) for n in range(60)), True),
        (b"X-Policy: " + b"p" * 400_000 + b"\r\n", False),
        (b"".join(b"X-%d: v\r\n" % n for n in range(40_000)), False),
    ],
)
async def test_long_and_many_headers(remote, lines, accepted):
    """As many and as long headers as git takes, with its HTTP library; more are refused."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head(lines + b"Content-Length: %d\r\n" % len(_BODY)) + _BODY)
        await writer.drain()
        await reader.read()

    async with scripted(script) as url:
        question = GitRequest(Repository(url=url), Reference("branch", "main"))
        if accepted:
            assert (await remote.commit_of(question)).commit == "a" * 40
        else:
            with pytest.raises(GitError):
                await remote.commit_of(question)
