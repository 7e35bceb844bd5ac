"""Questions to real git servers over HTTP(S): answers, costs, sharing."""

from __future__ import annotations

import asyncio
import base64

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.http.trust import trusted_parts
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import (
    GitAuthRequired,
    GitForbidden,
    GitNotFound,
    GitProtocolError,
    GitRateLimited,
    GitRedirectRefused,
    GitReferenceNotFound,
    GitTlsError,
    GitUnreachable,
    GitUnsupported,
)
from tests.edges.git.gitserver import GitServer, commit, git, new_repository

MAIN = Reference("branch", "main")
BYTES_PER_CHECK = 1300


def ask(url, reference=MAIN, **options):
    return GitRequest(Repository(url=url, **options), reference)


@pytest.fixture
def repository(git_server):
    return new_repository(git_server.root / "app.git")


@pytest.mark.parametrize("v2", [True, False])
async def test_references(git_server, repository, remote, v2):
    """Branches, light and annotated tags answer with their commit, from servers with and without protocol v2."""
    git_server.v2 = v2
    first = commit(repository, {"a": b"1"})
    second = commit(repository, {"a": b"2"}, branch="main-2")
    git("tag", "light", first, cwd=repository)
    git("tag", "-a", "-m", "m", "noted", second, cwd=repository)
    url = git_server.url("app.git")
    assert (await remote.commit_of(ask(url))).commit == first
    assert (await remote.commit_of(ask(url, Reference("tag", "light")))).commit == first
    noted = await remote.commit_of(ask(url, Reference("tag", "noted")))
    assert (noted.commit, noted.tag_object) == (second, git("rev-parse", "noted", cwd=repository))
    for missing in (Reference("branch", "mai"), Reference("tag", "main"), Reference("branch", "noted")):
        with pytest.raises(GitReferenceNotFound):
            await remote.commit_of(ask(url, missing))


@pytest.mark.parametrize("v2", [True, False])
async def test_a_commit_is_looked_for_once(git_server, repository, remote, v2):
    """A commit reference is looked for until it is found and never again; what is no commit is refused."""
    git_server.v2 = v2
    made = commit(repository, {"a": b"1"})
    git("tag", "-a", "-m", "m", "noted", made, cwd=repository)
    tag = git("rev-parse", "noted", cwd=repository)
    tree = git("rev-parse", f"{made}^{{tree}}", cwd=repository)
    url = git_server.url("app.git")
    for missing in (tag, tree) if v2 else ("1" * 40,):
        for _ in range(2):
            before = len(git_server.exchanges)
            with pytest.raises(GitReferenceNotFound):
                await remote.commit_of(ask(url, Reference("commit", missing)))
            assert len(git_server.exchanges) > before
    assert (await remote.commit_of(ask(url, Reference("commit", made.upper())))).commit == made
    before = len(git_server.exchanges)
    for _ in range(3):
        assert (await remote.commit_of(ask(url, Reference("commit", made)))).commit == made
    with pytest.raises(GitReferenceNotFound):
        await remote.commit_of(ask(url, Reference("commit", "ab12")))
    assert len(git_server.exchanges) == before


@pytest.mark.parametrize("branches", [1, 2000])
async def test_a_later_question_is_one_small_request(git_server, repository, remote, branches):
    """After the first, a check is one request of at most 1.3 KB both ways on the same connection, whatever the size."""
    made = commit(repository, {f"f{i}": b"x" for i in range(50)})
    refs = "".join(f"create refs/heads/b{i} {made}\n" for i in range(branches))
    git("update-ref", "--stdin", cwd=repository, stdin=refs.encode())
    question = ask(git_server.url("app.git"), credential=Credential.basic("somebody", "a long enough password"))
    await remote.commit_of(question)
    assert [e.method for e in git_server.exchanges] == ["GET", "POST"]
    await remote.commit_of(question)
    (exchange,) = git_server.exchanges[2:]
    assert (exchange.method, exchange.size_bytes <= BYTES_PER_CHECK) == ("POST", True)
    assert len({e.connection for e in git_server.exchanges}) == 1


@pytest.mark.parametrize("v2", [True, False])
async def test_an_empty_repository_has_no_branch(git_server, repository, remote, v2):
    """Before the first push the reference is not found; after it, it is."""
    git_server.v2 = v2
    with pytest.raises(GitReferenceNotFound):
        await remote.commit_of(ask(git_server.url("app.git")))
    made = commit(repository, {"a": b"1"})
    assert (await remote.commit_of(ask(git_server.url("app.git")))).commit == made


async def test_sha256_repositories(git_server, remote):
    """Repositories with sha256 ids answer and show their tree."""
    repository = new_repository(git_server.root / "long.git", "--object-format=sha256")
    made = commit(repository, {"a/b": b"1"})
    question = ask(git_server.url("long.git"))
    assert (await remote.commit_of(question)).commit == made
    (entry,) = await remote.tree(question.repository, made)
    assert (entry.path, len(entry.blob)) == ("a/b", 64)


@pytest.mark.parametrize("v2", [True, False])
async def test_trees(git_server, repository, remote, v2):
    """The files of a commit come without their contents where the server can leave them out."""
    git_server.v2 = v2
    old = commit(repository, {f"d{i}/f": b"x" * 1000 * i for i in range(300)})
    new = commit(repository, {"other": b"1"}, parent=old)
    source = Repository(url=git_server.url("app.git"))
    for each in (old, new):
        lines = git("ls-tree", "-r", each, cwd=repository).splitlines()
        assert [(e.path, e.blob) for e in await remote.tree(source, each)] == [
            (line.split("\t")[1], line.split()[2]) for line in lines
        ]
    with pytest.raises(GitReferenceNotFound):
        await remote.tree(source, "1" * 40)
    assert max(e.size_bytes for e in git_server.exchanges) < 40_000


async def test_a_server_without_filter_still_gives_trees(git_server, repository, remote):
    """Contents that a server sends anyway are dropped, within the cap."""
    git("config", "uploadpack.allowFilter", "false", cwd=repository)
    made = commit(repository, {"a": b"x" * 5000, "b/c": b"y"})
    assert [e.path for e in await remote.tree(Repository(url=git_server.url("app.git")), made)] == ["a", "b/c"]


@pytest.mark.parametrize("v2", [True, False])
async def test_a_server_that_refuses_the_filter_still_gives_trees(git_server, repository, remote, v2):
    """It offers filters, but not this one: everything is fetched, within the cap."""
    git_server.v2 = v2
    git("config", "uploadpackfilter.blob:none.allow", "false", cwd=repository)
    made = commit(repository, {"a": b"x" * 5000, "b/c": b"y"})
    assert [e.path for e in await remote.tree(Repository(url=git_server.url("app.git")), made)] == ["a", "b/c"]


@pytest.mark.parametrize(
    ("credential", "header"),
    [
        (Credential.basic("me", "pässword"), "Basic " + base64.b64encode("me:pässword".encode()).decode()),
        (Credential.token("Bearer abc"), "Bearer abc"),
    ],
)
async def test_credentials(git_server, repository, remote, credential, header):
    """Basic and token credentials are sent as given; without or with a wrong one the question says what to do."""
    made = commit(repository, {"a": b"1"})
    git_server.authorization = header
    url = git_server.url("app.git")
    assert (await remote.commit_of(ask(url, credential=credential))).commit == made
    with pytest.raises(GitAuthRequired, match="authConfig"):
        await remote.commit_of(ask(url))
    with pytest.raises(GitAuthRequired, match="Secret") as caught:
        await remote.commit_of(ask(url, credential=Credential.token("Bearer wrong-word")))
    assert "wrong-word" not in str(caught.value)


async def test_tls(tmp_path, certificates, remote):
    """A private CA is trusted when given, refused when not, ignored on request only; connections are not mixed up."""
    with GitServer(tmp_path, tls=certificates.server_context()) as server:
        made = commit(new_repository(tmp_path / "app.git"), {"a": b"1"})
        url = server.url("app.git")
        assert (await remote.commit_of(ask(url, ca_pem=certificates.ca_pem))).commit == made
        with pytest.raises(GitTlsError):
            await remote.commit_of(ask(url))
        assert (await remote.commit_of(ask(url, verify=False))).commit == made
        with pytest.raises(GitTlsError):
            await remote.commit_of(ask(url))
        with pytest.raises(GitTlsError, match="PEM"):
            await remote.commit_of(ask(url, ca_pem="nonsense"))
        assert (await remote.commit_of(ask(url.replace("127.0.0.1", "localhost"), verify=False))).commit == made
        with pytest.raises(GitTlsError):
            await remote.commit_of(ask(url.replace("127.0.0.1", "localhost"), ca_pem=certificates.ca_pem))


async def test_redirects_on_the_same_host_are_remembered(git_server, repository, remote):
    """A moved repository is followed once; later questions go straight to its new place, until that is gone."""
    made = commit(repository, {"a": b"1"})
    target = "/app.git/info/refs?service=git-upload-pack"
    git_server.replies["/old.git/info/refs"] = (301, {"Location": target}, b"")
    question = ask(git_server.url("old.git"), credential=Credential.token("Bearer x"))
    for _ in range(2):
        assert (await remote.commit_of(question)).commit == made
    assert [e.path.split("?")[0] for e in git_server.exchanges] == [
        "/old.git/info/refs",
        "/app.git/info/refs",
        "/app.git/git-upload-pack",
        "/app.git/git-upload-pack",
    ]
    assert git_server.exchanges[-1].authorization == "Bearer x"
    repository.rename(git_server.root / "newer.git")
    git_server.replies["/old.git/info/refs"] = (301, {"Location": target.replace("app", "newer")}, b"")
    assert (await remote.commit_of(question)).commit == made


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://localhost:{port}/app.git/info/refs?service=git-upload-pack", GitRedirectRefused),
        ("http://127.0.0.1:1/app.git/info/refs?service=git-upload-pack", GitRedirectRefused),
        ("http://u:p@127.0.0.1:{port}/app.git/info/refs", GitRedirectRefused),
        ("http://169.254.169.254/info/refs", GitRedirectRefused),
        ("ftp://127.0.0.1/app.git/info/refs", GitRedirectRefused),
        ("/users/sign_in", GitProtocolError),
        ("/old.git/info/refs?service=git-upload-pack", GitRedirectRefused),
        ("http://[", GitProtocolError),
    ],
)
async def test_redirects_elsewhere_are_refused(git_server, repository, remote, location, error):
    """Another host, port, scheme, a login page and a loop are refused, and no request goes there."""
    where = location.format(port=git_server.server_port)
    git_server.replies["/old.git/info/refs"] = (302, {"Location": where}, b"")
    with pytest.raises(error):
        await remote.commit_of(ask(git_server.url("old.git"), credential=Credential.token("Bearer x")))
    assert {e.path.split("?")[0] for e in git_server.exchanges} == {"/old.git/info/refs"}


async def test_an_https_server_may_not_redirect_to_http(tmp_path, certificates, remote):
    """A downgrade from https to http is refused."""
    with GitServer(tmp_path, tls=certificates.server_context()) as server:
        location = f"http://127.0.0.1:{server.server_port}/app.git/info/refs"
        server.replies["/app.git/info/refs"] = (302, {"Location": location}, b"")
        with pytest.raises(GitRedirectRefused):
            await remote.commit_of(ask(server.url("app.git"), ca_pem=certificates.ca_pem))


HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        ((403, HTML, b"no"), GitForbidden, "may not read"),
        ((404, HTML, b"no"), GitNotFound, "no such repository"),
        ((429, {"Retry-After": "7"}, b""), GitRateLimited, "wait 7 s"),
        ((403, {"Retry-After": "7"}, b""), GitRateLimited, "wait 7 s"),
        ((503, {"Retry-After": "9999999999"}, b""), GitRateLimited, "wait 3600 s"),
        ((429, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}, b""), GitRateLimited, "wait 0 s"),
        ((429, {"Retry-After": "soon"}, b""), GitRateLimited, "wait 60 s"),
        ((502, HTML, b"bad gateway"), GitUnreachable, "502"),
        ((200, HTML, b"<html>Please log in</html>"), GitProtocolError, "login page"),
        ((200, {"Content-Type": "text/plain"}, b"x" * 100), GitUnsupported, "dumb"),
        ((418, HTML, b""), GitProtocolError, "418"),
    ],
)
async def test_refusals_say_what_they_mean(git_server, repository, remote, reply, error, words):
    """Each way of refusing has its own exception and says what to do."""
    git_server.replies["/app.git/info/refs"] = reply
    with pytest.raises(error, match=words):
        await remote.commit_of(ask(git_server.url("app.git")))


async def test_a_server_that_loses_v2_is_learned_anew(git_server, repository, remote):
    """When a server changes its protocol either way, the next question still has its answer."""
    made = commit(repository, {"a": b"1"})
    question = ask(git_server.url("app.git"))
    for v2 in (True, False, True):
        git_server.v2 = v2
        assert (await remote.commit_of(question)).commit == made


@pytest.mark.parametrize(
    "url",
    ["ssh://-h/a", "file:///etc", "/etc", "git://h/x", "ext::sh", "http://", "https://-x/"],
)
async def test_other_urls_are_refused(remote, url):
    """No local path, no git:// and no host that looks like an option."""
    with pytest.raises(GitUnsupported):
        await remote.commit_of(ask(url))


async def test_userinfo_in_urls_is_refused(remote):
    """Passwords belong into Secrets; the message does not repeat them."""
    with pytest.raises(GitUnsupported, match="Secret") as caught:
        await remote.commit_of(ask("http://me:word@127.0.0.1:1/x.git"))
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/x.git", "no connection to 127.0.0.1:1: connection refused"),
        ("https://[::1]:1/x.git", "no connection to [::1]:1: connection refused"),
        ("ssh://git@127.0.0.1:1/x.git", "no connection to 127.0.0.1:1: connection refused"),
        ("http://no-such-host.invalid/x.git", "the host name does not resolve"),
        ("ssh://git@no-such-host.invalid/x.git", "the host name does not resolve"),
    ],
)
async def test_nobody_there(remote, url, words):
    """A refused connection and an unknown host are unreachable, and a plain sentence says which it is."""
    with pytest.raises(GitUnreachable) as caught:
        await remote.commit_of(ask(url))
    assert str(caught.value) == f"{url.replace('git@', '')}: {words}"


async def test_a_storm_of_one_question_is_a_few_requests(git_server, repository, remote):
    """300 callers at once share: one exchange, not 300."""
    made = commit(repository, {"a": b"1"})
    question = ask(git_server.url("app.git"))
    answers = await asyncio.gather(*(remote.commit_of(question) for _ in range(300)))
    assert {answer.commit for answer in answers} == {made}
    assert len(git_server.exchanges) <= 4


async def test_an_answer_is_never_older_than_its_question(git_server, repository, remote):
    """A caller who comes while an exchange is under way gets the answer of a later one, with the push in between."""
    before = commit(repository, {"a": b"1"})
    question = ask(git_server.url("app.git"))
    await remote.commit_of(question)
    git_server.gate.clear()
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(remote.commit_of(question))
        await asyncio.sleep(0)
        asked = loop.time()
        later = [group.create_task(remote.commit_of(question)) for _ in range(50)]
        await asyncio.sleep(0)
        git_server.gate.set()
        assert (await first).commit == before
        after = commit(repository, {"a": b"2"}, parent=before)
    # The second exchange may have read the reference before the commit was made; but it was sent after they asked.
    assert {task.result().commit for task in later} <= {before, after}
    assert all(task.result().sent_at >= asked for task in later)
    assert len({task.result().sent_at for task in later}) == 1
    assert len(git_server.exchanges) == 4


async def test_a_cancelled_caller_does_not_take_the_others_with_it(git_server, repository, remote):
    """Whoever waits behind a cancelled caller asks anew."""
    made = commit(repository, {"a": b"1"})
    question = ask(git_server.url("app.git"))
    git_server.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(remote.commit_of(question))
        second = group.create_task(remote.commit_of(question))
        await asyncio.sleep(0.01)
        first.cancel()
        git_server.gate.set()
        assert (await second).commit == made


async def test_failures_are_shared_but_not_kept(git_server, repository, remote):
    """Callers who wait together fail together; the next one asks again."""
    question = ask(git_server.url("app.git"))
    results = await asyncio.gather(*(remote.commit_of(question) for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {GitReferenceNotFound}
    assert len(git_server.exchanges) <= 4
    made = commit(repository, {"a": b"1"})
    assert (await remote.commit_of(question)).commit == made


async def test_a_tree_is_fetched_once_for_all_who_want_it(git_server, repository, remote):
    """Callers who want the same commit's files at once share one fetch."""
    made = commit(repository, {"a": b"1"})
    source = Repository(url=git_server.url("app.git"))
    trees = await asyncio.gather(*(remote.tree(source, made) for _ in range(20)))
    assert {tuple(tree) for tree in trees} == {tuple(trees[0])}
    assert len(git_server.exchanges) == 2


async def test_a_host_is_asked_a_limited_number_of_questions_at_once(git_server, repository):
    """No more questions than allowed are under way at one host."""
    commit(repository, {"a": b"1"})
    remote = http_remote(Limits(host_concurrency=2))
    references = [Reference("branch", f"b{i}") for i in range(12)]
    try:
        results = await asyncio.gather(
            *(remote.commit_of(ask(git_server.url("app.git"), each)) for each in references), return_exceptions=True
        )
    finally:
        await remote.close()
    assert {type(result) for result in results} == {GitReferenceNotFound}
    assert len({e.connection for e in git_server.exchanges}) <= 2


def test_a_bundle_is_read_in_parts():
    """A bundle of 500 certificates is read in parts that hold each certificate once, whatever is between them."""
    block = "-----BEGIN CERTIFICATE-----\n" + "A" * 600 + "\n-----END CERTIFICATE-----"
    text = "\n# one more\n".join(f"{block[:-30]}{number:04}{block[-30:]}" for number in range(500)) + "\n# end\n"
    parts = list(trusted_parts(text))
    assert len(parts) > 5
    assert text.startswith("".join(parts)[: text.rindex("\n# end")])
    assert all(part.count("BEGIN") == part.count("END") for part in parts)
    assert list(trusted_parts("nonsense")) == []
