"""Every reference from every kind of server over HTTP(S): git http-backend behind nginx, a Gitea forge, JGit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import GitAuthRequired, GitError, GitNotFound, GitReferenceNotFound, GitUnsupported
from tests.servers import git

MAIN = Reference("branch", "main")


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """Git http-backend behind nginx."""
    try:
        server = git.GitServer(tmp_path_factory.mktemp("nginx"))
    except git.Unavailable as missing:
        pytest.skip(f"no git server: {missing}")
    yield server
    server.close()


@dataclass
class Place:
    """A fresh repository on a real server, and the way to it."""

    made: git.Repository
    source: Repository

    def remove(self, branch):
        """Delete a branch."""
        if hasattr(self.made, "delete_branch"):
            self.made.delete_branch(branch)
        else:
            self.made.git("update-ref", "-d", f"refs/heads/{branch}")


_BUILT = [pytest.param(name, marks=pytest.mark.built) for name in ("forge password", "forge token", "jgit", "jgit tls")]


@pytest.fixture(params=["nginx", "nginx tls", "nginx basic", "nginx token", *_BUILT])
def place(request):
    """A repository on each server with each credential."""
    kind, _, way = request.param.partition(" ")
    server = request.getfixturevalue({"nginx": "nginx", "forge": "forge", "jgit": "jgit_server"}[kind])
    if kind == "forge":
        made = server.repository(private=True)
        secret = Credential.token(f"token {server.token()}")
        if way == "password":
            secret = Credential.basic(server.admin.name, server.admin.password)
        return Place(made, Repository(url=made.url, credential=secret))
    if way == "tls":
        made = server.repository()
        ca = server.authority.path.read_text()
        return Place(made, Repository(url=f"{server.tls_url}/{made.name}.git", ca_pem=ca))
    made = server.repository(place=way) if way else server.repository()
    secret = {"basic": Credential.basic("user", "pass"), "token": Credential.token("Bearer sesame")}.get(way)
    return Place(made, Repository(url=made.url, credential=secret))


async def test_every_reference(place, remote):
    """Branches, both kinds of tags, commits and full names give their commit; what moves, moves; what goes is gone."""
    made, source = place.made, place.source

    async def at(reference):
        return (await remote.commit_of(GitRequest(source, reference))).commit

    with pytest.raises(GitReferenceNotFound):
        await at(MAIN)
    first = made.push({"a/b": "1\n", "c": "2\n"})
    made.tag("light")
    made.tag("noted", annotated=True)
    topic = made.push({"d": "3\n"}, branch="feature/über")
    assert await at(MAIN) == await at(Reference("tag", "light")) == await at(Reference("tag", "noted")) == first
    assert await at(Reference("branch", "feature/über")) == await at(Reference("branch", "refs/heads/feature/über"))
    assert await at(Reference("tag", "refs/heads/main")) == first
    assert await at(Reference("commit", first)) == first
    with pytest.raises(GitReferenceNotFound):
        await at(Reference("commit", "12" * 20))
    for missing in (Reference("branch", "mai"), Reference("branch", "light"), Reference("tag", "main")):
        with pytest.raises(GitReferenceNotFound):
            await at(missing)
    lines = made.git("-c", "core.quotePath=false", "ls-tree", "-r", first).splitlines()
    assert [(e.path, e.blob) for e in await remote.tree(source, first)] == [
        (line.split("\t")[1], line.split()[2]) for line in lines
    ]
    second = made.push({"c": "4\n"})
    assert (await at(MAIN), await at(Reference("branch", "feature/über"))) == (second, topic)
    place.remove("feature/über")
    with pytest.raises(GitReferenceNotFound):
        await at(Reference("branch", "feature/über"))


async def test_questions_that_wait_together(place, remote):
    """Ten references asked for at once each have their own answer, from one exchange."""
    made = place.made
    heads = {f"b{n}": made.push({"f": f"{n}\n"}, branch=f"b{n}") for n in range(10)}
    asked = [remote.commit_of(GitRequest(place.source, Reference("branch", name))) for name in heads]
    answers = await asyncio.gather(*asked)
    assert [answer.commit for answer in answers] == list(heads.values())
    assert len({answer.sent_at for answer in answers}) == 1


async def test_a_pull_request_by_its_full_name(forge, remote):
    """The head of a pull request is watched as refs/pull/NUMBER/head."""
    made = forge.repository()
    made.push({"a": "1\n"})
    topic = made.push({"a": "2\n"}, branch="topic")
    reference = Reference("branch", f"refs/pull/{made.pull_request('topic')}/head")
    source = Repository(url=made.url)
    assert (await remote.commit_of(GitRequest(source, reference))).commit == topic


async def test_wrong_credentials(nginx, forge, remote):
    """A private repository without a credential, or with a wrong one, says so, and the secret is not in it."""
    private = forge.repository(private=True)
    private.push({"a": "1\n"})
    behind = nginx.repository(place="basic")
    wrong = Credential.basic("user", "wrong-word")
    for url in (private.url, behind.url):
        with pytest.raises((GitAuthRequired, GitNotFound)):
            await remote.commit_of(GitRequest(Repository(url=url), MAIN))
        with pytest.raises(GitError) as caught:
            await remote.commit_of(GitRequest(Repository(url=url, credential=wrong), MAIN))
        assert "wrong-word" not in str(caught.value)


async def test_head_may_point_elsewhere(nginx, remote):
    """The default branch of a repository moves without a change to what is watched."""
    made = nginx.repository()
    first = made.push({"a": "1\n"})
    made.push({"a": "2\n"}, branch="other")
    source = Repository(url=made.url)
    assert (await remote.commit_of(GitRequest(source, MAIN))).commit == first
    made.git("symbolic-ref", "HEAD", "refs/heads/other")
    assert (await remote.commit_of(GitRequest(source, MAIN))).commit == first
    made.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    assert (await remote.commit_of(GitRequest(source, MAIN))).commit == first


async def test_files_without_a_program_are_refused(nginx, remote):
    """A repository served as plain files ("dumb" HTTP) is refused with a reason, not read."""
    made = nginx.repository()
    made.push({"a": "1\n"})
    made.git("update-server-info")
    with pytest.raises(GitUnsupported, match="dumb"):
        await remote.commit_of(GitRequest(Repository(url=f"{nginx.url}/dumb/{made.name}.git"), MAIN))


@pytest.mark.parametrize("references", [1, 5000])
async def test_bytes_of_a_check(nginx, remote, references):
    """A check costs at most 1.1 KB both ways with all headers, as the server counts, whatever the repository's size."""
    made = nginx.repository()
    head = made.push({"a": "1\n"})
    made.git("update-ref", "--stdin", stdin="".join(f"create refs/heads/b{n} {head}\n" for n in range(references)))
    source = Repository(url=made.url, credential=Credential.basic("somebody", "a long enough password"))
    for _ in range(3):
        assert (await remote.commit_of(GitRequest(source, MAIN))).commit == head
    last = nginx.requests(made)[-1]
    assert last.method == "POST"
    assert last.sent + last.received <= 1100
