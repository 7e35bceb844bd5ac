"""Manners: shared and kept answers, pace, pauses that hosts ask for, back-off of what fails, addresses never asked."""

from __future__ import annotations

import asyncio
import gc

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.allowed_addresses import Addresses
from git_events_runner.edges.git.backoff import Backoffs
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.edges.git.single_flight import LruCache
from git_events_runner.errors import (
    GitAddressRefused,
    GitError,
    GitRateLimited,
    GitReferenceNotFound,
    GitTimeout,
    GitTooLarge,
    GitUnreachable,
    GitUnsupported,
)
from git_events_runner.telemetry.metrics import Metrics
from tests.edges.git.gitserver import commit, new_repository

MAIN = Reference("branch", "main")
FULL = (429, {"Retry-After": "30"}, b"")


def ask(url, reference=MAIN):
    return GitRequest(Repository(url=url), reference)


@pytest.fixture
def repository(git_server):
    return new_repository(git_server.root / "app.git")


async def test_references_of_one_repository_share_an_exchange(git_server, repository, remote):
    """Questions that arrive while one is under way become one, whatever references they are about."""
    made = commit(repository, {"a": b"1"})
    for n in range(20):
        git_server_ref = f"refs/heads/b{n}"
        (repository / git_server_ref).write_text(made + "\n")
    url = git_server.url("app.git")
    await remote.commit_of(ask(url))
    git_server.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(remote.commit_of(ask(url)))
        await asyncio.sleep(0.05)
        rest = [group.create_task(remote.commit_of(ask(url, Reference("branch", f"b{n}")))) for n in range(20)]
        await asyncio.sleep(0.05)
        git_server.gate.set()
    assert first.result().commit == made
    assert {task.result().commit for task in rest} == {made}
    assert len({task.result().sent_at for task in rest}) == 1
    assert first.result().sent_at < rest[0].result().sent_at
    assert len(git_server.exchanges) == 4


async def test_one_missing_reference_does_not_fail_the_others(git_server, repository, remote):
    """Of questions that share an exchange, only the one about what is not there fails."""
    made = commit(repository, {"a": b"1"})
    url = git_server.url("app.git")
    good, bad = await asyncio.gather(
        remote.commit_of(ask(url)), remote.commit_of(ask(url, Reference("tag", "v9"))), return_exceptions=True
    )
    assert good.commit == made
    assert isinstance(bad, GitReferenceNotFound)


async def test_files_of_a_commit_are_kept(git_server, repository, remote):
    """A commit's files are fetched once, whoever asks later."""
    made = commit(repository, {"a": b"1"})
    source = Repository(url=git_server.url("app.git"))
    first = await remote.tree(source, made)
    before = len(git_server.exchanges)
    assert await remote.tree(Repository(url=source.url), made) is first
    assert len(git_server.exchanges) == before


async def test_a_tree_that_is_too_large_is_not_fetched_again(git_server, repository):
    """A commit whose files passed a limit is refused from memory; its repository still answers."""
    made = commit(repository, {f"f{n}": b"x" for n in range(20)})
    remote = http_remote(Limits(tree_entries=10))
    source = Repository(url=git_server.url("app.git"))
    try:
        for _ in range(3):
            with pytest.raises(GitTooLarge):
                await remote.tree(source, made)
        assert len(git_server.exchanges) == 2
        assert (await remote.commit_of(GitRequest(source, MAIN))).commit == made
        assert (await remote.commit_of(GitRequest(source, Reference("commit", made)))).commit == made
    finally:
        await remote.close()


def test_what_is_kept_is_bounded():
    """The values used last stay, as many as weigh no more than the limit together."""
    kept = LruCache(limit=10, weigh=len)
    kept.put("a", "1234")
    kept.put("b", "5678")
    assert kept.get("a") == "1234"
    kept.put("c", "9012")
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.weight) == ("1234", None, "9012", 8)
    kept.put("d", "x" * 11)
    assert kept.get("d") is None
    assert kept.weight <= 10


def test_what_a_namespace_brings_in_drops_nothing_of_another_with_less():
    """Neither many values nor large ones; a namespace's only one is kept when it comes, up to half of all."""
    kept = LruCache(limit=20, weigh=len)
    kept.put("g", "1234", "good")
    for number in range(50):
        kept.put(number, "x" * (1 + number % 10), "evil")
        assert kept.get("g") == "1234"
        assert kept.weight <= 20
    kept.put("large", "x" * 10, "monorepo")
    assert kept.get("large") == "x" * 10
    assert kept.get("g") == "1234"
    kept.put("larger", "x" * 19, "evil2")
    assert kept.get("larger") is None
    assert kept.get("g") == "1234"


async def test_a_host_that_wants_a_pause_gets_it(git_server, repository, remote):
    """After a 429 no question of any repository goes to that host until its time has passed; other hosts are asked."""
    made = commit(repository, {"a": b"1"})
    git_server.replies["/full.git/info/refs"] = FULL
    with pytest.raises(GitRateLimited):
        await remote.commit_of(ask(git_server.url("full.git")))
    before = len(git_server.exchanges)
    with pytest.raises(GitRateLimited, match="wait 30 s") as caught:
        await remote.commit_of(ask(git_server.url("app.git")))
    assert 0 < caught.value.retry_after_s <= 35
    assert len(git_server.exchanges) == before
    other = git_server.url("app.git").replace("127.0.0.1", "localhost")
    assert (await remote.commit_of(ask(other))).commit == made


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800"},
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "30"},
        {"X-RateLimit-Remaining": "0"},
        {"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"},
        {"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"},
    ],
)
async def test_a_used_up_rate_is_respected_before_it_is_refused(git_server, repository, remote, headers):
    """An answer that says that it was the last one allowed pauses the host, whether it was good or a 403."""
    commit(repository, {"a": b"1"})
    git_server.replies["/full.git/info/refs"] = (403, headers, b"")
    with pytest.raises(GitRateLimited):
        await remote.commit_of(ask(git_server.url("full.git")))
    with pytest.raises(GitRateLimited):
        await remote.commit_of(ask(git_server.url("app.git")))
    assert len(git_server.exchanges) == 1


async def test_pace(git_server, repository):
    """Beyond its burst a host gets so many requests per second; more than fit into the deadline are put off."""
    commit(repository, {"a": b"1"})
    remote = http_remote(Limits(host_rate=20, host_burst=2, deadline_s=1.0))
    loop = asyncio.get_running_loop()
    questions = [GitRequest(Repository(url=git_server.url("app.git"), verify=n % 2 == 0), MAIN) for n in range(2)]
    try:
        await asyncio.gather(*(remote.commit_of(each) for each in questions))
        started = loop.time()
        for _ in range(3):
            await asyncio.gather(*(remote.commit_of(each) for each in questions))
        assert loop.time() - started >= 4 / 20
        many = [ask(git_server.url(f"r{n}.git")) for n in range(30)]
        results = await asyncio.gather(*(remote.commit_of(each) for each in many), return_exceptions=True)
    finally:
        await remote.close()
    put_off = [each for each in results if isinstance(each, GitRateLimited)]
    assert 10 <= len(put_off) < 30
    assert all(0 < each.retry_after_s < 2 for each in put_off)


async def test_a_repository_that_fails_is_left_alone(git_server, repository, remote):
    """After a failure nobody is asked until its time has passed, unless somebody says that something changed."""
    question = ask(git_server.url("app.git"))
    git_server.replies["/app.git/info/refs"] = (500, {}, b"")
    with pytest.raises(GitUnreachable) as first:
        await remote.commit_of(question)
    assert 0.5 <= first.value.retry_after_s <= 1
    for _ in range(5):
        with pytest.raises(GitUnreachable, match=str(first.value)) as again:
            await remote.commit_of(question)
        assert again.value.repeated
    assert len(git_server.exchanges) == 1
    git_server.replies.clear()
    made = commit(repository, {"a": b"1"})
    assert (await remote.commit_of(question, urgent=True)).commit == made
    assert (await remote.commit_of(question)).commit == made


async def test_a_pack_that_fails_says_no_time_to_wait(git_server, repository, remote):
    """Packs are not put off: whoever fetches one (the cloner) has pauses of its own, and may ask at once."""
    made = commit(repository, {"a": b"1"})
    source = Repository(url=git_server.url("app.git"))
    git_server.replies["/app.git/git-upload-pack"] = (502, {}, b"")
    for _ in range(2):
        with pytest.raises(GitUnreachable) as caught:
            await remote.pack(source, made, write=bytearray().extend)
        assert (caught.value.retry_after_s, caught.value.repeated) == (0.0, False)
    git_server.replies.clear()
    pack = bytearray()
    assert await remote.pack(source, made, write=pack.extend) == "sha1"
    assert pack.startswith(b"PACK")


def test_back_off_grows_to_five_minutes():
    """The time doubles from a second to five minutes, less up to a half by chance, and starts anew after a success."""
    backoffs, error, now = Backoffs(), GitTimeout("no answer"), 0.0
    waits = []
    for _ in range(14):
        assert backoffs.failed("k", error, now)
        waits.append(error.retry_after_s)
        with pytest.raises(GitTimeout):
            backoffs.check("k", now + waits[-1] * 0.8)
        now += waits[-1]
        backoffs.check("k", now - 0.001)
    assert all(min(2**n, 300) / 2 <= wait <= min(2**n, 300) for n, wait in enumerate(waits))
    backoffs.forget("k")
    backoffs.failed("k", error, now)
    assert error.retry_after_s <= 1
    assert not backoffs.failed("other", GitReferenceNotFound("no such branch"), now)
    assert not backoffs.failed("other", GitRateLimited("later", retry_after_s=1), now)


REFUSED = [
    "169.254.169.254",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fd00:ec2::254]",
    "0.0.0.0",
    "[::]",
    "100.100.100.200",
    "168.63.129.16",
    "[64:ff9b:1::a9fe:a9fe]",
    "[::ffff:0:a9fe:a9fe]",
    "2852039166",
    "0xa9fea9fe",
    "169.254.43518",
]


@pytest.mark.parametrize("host", REFUSED)
async def test_addresses_that_no_source_may_name(remote, host):
    """Link-local and metadata addresses are refused in every notation, before anything connects."""
    with pytest.raises((GitAddressRefused, GitUnsupported)):
        await remote.commit_of(ask(f"http://{host}/x.git"))


async def test_further_networks_are_refused_after_resolution(git_server, repository):
    """A name is judged by the addresses it resolves to."""
    made = commit(repository, {"a": b"1"})
    url = git_server.url("app.git")
    strict = http_remote(Limits(), refused_networks=["127.0.0.0/8", "::1/128"])
    lenient = http_remote(Limits(), refused_networks=["10.0.0.0/8"])
    try:
        for each in (url, url.replace("127.0.0.1", "localhost")):
            with pytest.raises(GitAddressRefused):
                await strict.commit_of(ask(each))
        assert git_server.exchanges == []
        assert (await lenient.commit_of(ask(url))).commit == made
    finally:
        await strict.close()
        await lenient.close()


def test_ordinary_addresses_pass():
    """Public, private and loopback addresses are allowed unless a setting says otherwise."""
    judge = Addresses()
    assert all(judge.allows(each) for each in ("140.82.121.4", "10.0.0.7", "127.0.0.1", "::1", "2606:50c0:8000::153"))
    assert not Addresses(["10.0.0.0/8"]).allows("::ffff:10.0.0.7")


@pytest.mark.parametrize(
    "url",
    [
        "http://host/a\r\nX-Evil: 1",
        "http://ho st/a",
        "http://host\x00/a",
        "http://-x/a",
        "http://a..b\\c/x",
        "http://host/" + "a" * 3000,
        "http://ho\x1b[31mst/x",
    ],
)
async def test_urls_are_looked_at_before_use(remote, url):
    """Control characters, spaces, backslashes, over-long URLs and impossible hosts are refused and shown escaped."""
    with pytest.raises(GitUnsupported) as caught:
        await remote.commit_of(ask(url))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["a\u202eb", "a\u200bb", "a\x1b[31mb", "a\ud800b", "x" * 2000])
async def test_names_of_references_are_shown_escaped(git_server, repository, remote, name):
    """Invisible and control characters of a name reach no message as they are."""
    commit(repository, {"a": b"1"})
    with pytest.raises(GitReferenceNotFound) as caught:
        await remote.commit_of(ask(git_server.url("app.git"), Reference("branch", name)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800
    assert "Repository(" not in str(caught.value)


async def test_schemes_can_be_forbidden(git_server, repository):
    """A scheme that the settings leave out is refused without a request."""
    remote = http_remote(Limits(), schemes=["https"])
    with pytest.raises(GitUnsupported, match="https"):
        await remote.commit_of(ask(git_server.url("app.git")))
    assert git_server.exchanges == []


async def test_nothing_is_kept_of_questions_that_ended(git_server, repository, remote):
    """After a storm no lane, fetch or place at a host is held."""
    made = commit(repository, {"a": b"1"})
    url = git_server.url("app.git")
    references = [Reference("branch", "main"), Reference("tag", "none"), Reference("commit", made)]
    asked = [remote.commit_of(ask(url, references[n % 3])) for n in range(90)]
    results = await asyncio.gather(*asked, remote.tree(Repository(url=url), made), return_exceptions=True)
    assert {type(each).__name__ for each in results} == {"ResolvedReference", "GitReferenceNotFound", "Tree"}
    gc.collect()
    assert (dict(remote._lanes), dict(remote._fetches)) == ({}, {})
    assert (remote._hosts._in_use, remote._leaving) == ({}, {})


async def test_metrics_know_hosts_of_sources_only(git_server, repository):
    """Exchanges, shared answers, bytes and back-offs are counted by host; hosts that no source names are `other`."""
    commit(repository, {"a": b"1"})
    metrics = Metrics(prefix="x")
    host = f"127.0.0.1:{git_server.server_port}"
    metrics.git.keep_hosts({host})
    remote = http_remote(Limits(), observer=metrics.git)
    try:
        await asyncio.gather(*(remote.commit_of(ask(git_server.url("app.git"))) for _ in range(5)))
        for url in (git_server.url("app.git").replace("127.0.0.1", "localhost"), "http://127.0.0.1:1/x.git"):
            try:
                await remote.commit_of(ask(url))
            except GitError:
                continue
    finally:
        await remote.close()
    text = metrics.render().decode()
    assert f'x_git_exchanges_total{{host="{host}",outcome="answered"}} 1.0' in text
    assert f'x_git_shared_answers_total{{host="{host}"}} 4.0' in text
    assert 'x_git_exchanges_total{host="other",outcome="Unreachable"} 1.0' in text
    assert 'x_git_backoffs_total{host="other"} 1.0' in text
    assert "localhost" not in text
    metrics.git.keep_hosts(set())
    assert host not in metrics.render().decode()
