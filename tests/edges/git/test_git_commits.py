"""Author and message of a commit, from real git and from packs of every kind."""

import asyncio
import hashlib
import zlib

import pytest

from git_events_runner.edges.git.commits import CONTENT_BYTES, CommitFront
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.request import Repository
from git_events_runner.errors import GitCutOff, GitError, GitProtocolError, GitTooLarge
from tests.edges.git.gitserver import commit, git, new_repository

LIMITS = Limits()
TREE = b"tree " + b"1" * 40 + b"\n"
AUTHOR = b"author A U Thor <author@example.com> 1767225600 +0000\ncommitter C <c@example.com> 1767225600 +0000\n"


@pytest.fixture
def repository(git_server):
    return new_repository(git_server.root / "app.git")


def pack(*objects, count=None):
    """A pack of objects: (type, content)."""
    body = b"PACK" + (2).to_bytes(4, "big") + (len(objects) if count is None else count).to_bytes(4, "big")
    for kind, content in objects:
        size = len(content)
        head = [kind << 4 | size & 15]
        size >>= 4
        while size:
            head[-1] |= 128
            head.append(size & 127)
            size >>= 7
        body += bytes(head) + zlib.compress(content)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def id_of(content, make=hashlib.sha1):
    return make(b"commit %d\0" % len(content) + content).hexdigest()


@pytest.mark.parametrize("v2", [True, False])
async def test_a_server_that_refuses_the_filter_is_queried_without_one(git_server, repository, remote, v2):
    """It offers filters, but not `tree:0`: the message is read from the beginning of a complete pack."""
    git_server.v2 = v2
    for name, value in {"uploadpack.allowFilter": "true", "uploadpackfilter.tree.allow": "false"}.items():
        git("config", name, value, cwd=repository)
    made = commit(repository, {"file": b"content"})
    found = await remote.commit_text(Repository(url=git_server.url("app.git")), made)
    assert found.email == "a@example.org"


def feed(front, data, size=1000):
    for at in range(0, len(data), size):
        front.feed(data[at : at + size])


def read(content, *others, size=1 << 16, first=True, commit_id=None, form="sha1"):
    front = CommitFront(commit_id or id_of(content))
    data = pack((1, content), *others) if first else pack(*others, (1, content))
    try:
        feed(front, data, size)
    except CommitFront.Seen:
        assert others
    return front.text(form, LIMITS)


@pytest.mark.parametrize("v2", [True, False])
@pytest.mark.parametrize("filters", ["true", "false"])
async def test_a_real_server_gives_author_and_message_of_any_commit_once(git_server, repository, remote, v2, filters):
    """Ten callers share one fetch, it is remembered, and with filters no tree is sent; without v2 it works as well."""
    git_server.v2 = v2
    git("config", "uploadpack.allowFilter", filters, cwd=repository)
    many = {f"folder{number}/file": str(number).encode() for number in range(300)}
    first = commit(repository, many)
    tree = git("rev-parse", f"{first}^{{tree}}", cwd=repository)
    text = "Überschrift\n\nText with [skip ci]\n"
    made = git("commit-tree", tree, "-p", first, cwd=repository, stdin=text.encode())
    git("update-ref", "refs/heads/main", made, cwd=repository)
    where = Repository(url=git_server.url("app.git"))
    before = len(git_server.exchanges)
    found = await asyncio.gather(*(remote.commit_text(where, made) for _ in range(10)))
    assert {(one.name, one.email, one.message) for one in found} == {("a", "a@example.org", text)}
    exchanges = git_server.exchanges[before:]
    fetches = [one.size_bytes for one in exchanges if one.method == "POST"]
    assert len(fetches) == 1
    assert filters == "false" or fetches[0] < 2000
    assert await remote.commit_text(where, made) == found[0]
    assert len(git_server.exchanges) == before + len(exchanges)
    other = await remote.commit_text(where, first)
    assert other.message.strip() == "m"


async def test_a_commit_that_is_not_there_is_reported_as_such(git_server, repository, remote):
    """Nor is a tree a commit."""
    made = commit(repository, {"a": b"1"})
    where = Repository(url=git_server.url("app.git"))
    for wrong in ("1" * 40, git("rev-parse", f"{made}^{{tree}}", cwd=repository), "main"):
        with pytest.raises(GitError):
            await remote.commit_text(where, wrong)


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_bytes_may_come_in_any_parts(size):
    """One by one, or all of them."""
    content = TREE + AUTHOR + b"\nFix it\n\nand more\n"
    assert read(content, size=size).message == "Fix it\n\nand more\n"


def test_a_long_commit_is_cut():
    """What comes after 64 KiB is not read; a pack that goes on is not waited for."""
    content = TREE + AUTHOR + b"\n" + b"Fix " + b"x" * 10 * CONTENT_BYTES
    found = read(content, (2, b""), size=100)
    assert (found.name, len(found.message)) == ("A U Thor", 4096)


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_a_pack_that_has_the_commit_elsewhere_is_searched(size):
    """Not every server puts it first."""
    content = TREE + AUTHOR + b"\nFix it\n"
    assert read(content, (2, b""), (3, b"file"), first=False, size=size).subject == "Fix it"


def test_other_encodings_and_strange_headers_are_read():
    """An encoding header, signatures with words of headers, no author, bytes of no encoding."""
    latin = TREE + "author Jörg <j@example.com> 1 +0000\nencoding ISO-8859-1\n\nGrün\n".encode("latin-1")
    assert (read(latin).name, read(latin).message) == ("Jörg", "Grün\n")
    signed = TREE + AUTHOR + b"gpgsig -----BEGIN\n author X <x@example.com> 1 +0000\n -----END\n\nauthor Y <y> \n"
    assert read(signed).author == "A U Thor"
    assert read(TREE + b"\nauthor Y <y@example.com>\n").author == ""
    assert read(TREE + b"author \xff <x>\n\n\xff\n").message == "�\n"


def test_sha256_commits_are_verified_by_their_own_hash():
    """Also there another commit under the id is refused."""
    content = TREE + AUTHOR + b"\nFix it\n"
    assert read(content, commit_id=id_of(content, hashlib.sha256), form="sha256").subject == "Fix it"
    with pytest.raises(GitProtocolError, match="begins with another commit"):
        read(content, commit_id="2" * 64, form="sha256")


def test_hostile_packs_are_refused():
    """Another commit, broken data, no pack, a cut, a large pack without the commit at its front."""
    content = TREE + AUTHOR + b"\nFix it\n"
    with pytest.raises(GitProtocolError, match="begins with another commit"):
        read(content, commit_id="1" * 40)
    with pytest.raises(GitProtocolError, match="not a pack"):
        CommitFront("1" * 40).feed(b"PICK" + b"\0" * 30)
    with pytest.raises(GitProtocolError, match="broken data"):
        CommitFront("1" * 40).feed(pack((1, content))[:16] + b"\xff" * 30)
    cut = CommitFront(id_of(content))
    cut.feed(pack((1, content))[:40])
    with pytest.raises(GitCutOff):
        cut.text("sha1", LIMITS)
    large = CommitFront("1" * 40)
    large.feed(pack((3, b"x"), count=9))
    with pytest.raises(GitTooLarge, match="too large to be searched"):
        feed(large, b"x" * 4 * 2**20)
    without = CommitFront("1" * 40)
    without.feed(pack((4, b"object"), (1, content)))
    with pytest.raises(GitProtocolError, match="lacks the commit"):
        without.text("sha1", LIMITS)


def test_what_inflates_to_much_is_not_held():
    """A commit of 200 MB in 200 KB: 64 KiB are read."""
    front = CommitFront("1" * 40)
    data = pack((1, TREE + AUTHOR + b"\n" + b"a" * 50_000_000), (2, b""))
    with pytest.raises(CommitFront.Seen):
        feed(front, data)
    assert len(front.text("sha1", LIMITS).message) == 4096
