"""Proxies that a source names: questions through them, whom they let through, and where they may be."""

from __future__ import annotations

import pytest

from git_events_runner.edges.git import Limits, Unobserved, http_remote
from git_events_runner.edges.git.access import ProxyAccess, SshAccess, proxy_of
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import (
    GitAddressRefused,
    GitAuthRequired,
    GitError,
    GitRateLimited,
    GitUnreachable,
    GitUnsupported,
    SecretUnusable,
)
from git_events_runner.resources.description import PROXY_FILES
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.parse import parse
from git_events_runner.settings import GitConfig
from git_events_runner.wiring.config import git_remote
from git_events_runner.wiring.git_sources import Remotes
from tests.edges.git.gitserver import GitServer, commit, new_repository
from tests.edges.git.proxies import proxy
from tests.edges.git.test_git_sources import sources_of
from tests.servers.closing import serving

MAIN = Reference("branch", "main")
LOGIN = ("me", "pass word@:/%")
KINDS_OF_PROXY = ["http", "socks5", "socks5h"]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A proxy of the environment that is not there, and hosts that it is not used for: neither may count."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "git.invalid")


@pytest.fixture
async def remote():
    """An edge of its own."""
    made = http_remote(Limits(deadline_s=10.0))
    yield made
    await made.close()


def access(url, login=None):
    """The access to a proxy, perhaps with a user name and password."""
    return ProxyAccess(url=url, **(dict(zip(("username", "password"), login, strict=True)) if login else {}))


async def ask(remote, url, through, **options):
    """The commit of main, through a proxy."""
    return (await remote.commit_of(GitRequest(Repository(url=url, proxy=through, **options), MAIN))).commit


@pytest.mark.parametrize("kind", KINDS_OF_PROXY)
async def test_through_the_proxy_of_a_source(git_server, remote, kind):
    """It goes before the environment's proxy and its exceptions, gets its own login, and resolves the name."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    secret = Credential.basic("user", "pass")
    async with proxy(kind.rstrip("h"), LOGIN) as (url, seen):
        through = access(url.replace("socks5", kind), LOGIN)
        target = f"http://git.invalid:{git_server.server_port}/app.git"
        assert await ask(remote, target, through, credential=secret) == made
        source = Repository(url=target, proxy=through, credential=secret)
        assert [entry.path for entry in await remote.tree(source, made)] == ["a"]
    assert seen
    assert all(f"git.invalid:{git_server.server_port}" in target and given for _, target, given in seen)
    assert {each.authorization for each in git_server.exchanges} == {secret.authorization}


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_https_through_the_proxy_of_a_source(tmp_path, certificates, remote, kind):
    """HTTPS goes through a tunnel, and the server's certificate counts."""
    with GitServer(tmp_path, tls=certificates.server_context()) as server:
        made = commit(new_repository(tmp_path / "app.git"), {"a": b"1"})
        async with proxy(kind, LOGIN) as (url, seen):
            there = server.url("app.git")
            assert await ask(remote, there, access(url, LOGIN), ca_pem=certificates.ca_pem) == made
        assert {target for _, target, _ in seen} == {f"127.0.0.1:{server.server_port}"} or kind == "socks5"
        assert len(seen) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_wrong_login(remote, kind, scheme):
    """A wrong or missing password says so, names the field and repeats none; the git server is not asked."""
    async with proxy(kind, LOGIN) as (url, _):
        with pytest.raises(GitAuthRequired, match=r"spec\.proxy\.secretRef names") as wrong:
            await ask(remote, f"{scheme}://git.invalid/app.git", access(url, ("me", "sesame")))
        with pytest.raises(GitAuthRequired, match=r"name a Secret with them in spec\.proxy\.secretRef"):
            await ask(remote, f"{scheme}://git.invalid/app.git", access(url))
    assert "sesame" not in str(wrong.value)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_that_is_not_there_is_named(remote, kind):
    """A proxy without a listener or a name makes the source unreachable, by the name of the field."""
    for place in ("127.0.0.1:1", "proxy.invalid:3128"):
        with pytest.raises(GitUnreachable, match=r"spec\.proxy\.url") as caught:
            await ask(remote, f"http://git.invalid/{place}.git", access(f"{kind}://{place}", ("me", "sesame")))
        assert "sesame" not in str(caught.value)


async def test_a_socks_proxy_that_falls_silent(remote):
    """A proxy that closes in the middle of its greeting is an unreachable one, no failure of the program."""

    async def serve(reader, writer):
        writer.write(b"\x05")
        await writer.drain()
        writer.close()

    async with serving(serve) as port:
        with pytest.raises(GitUnreachable):
            await ask(remote, "http://git.invalid/app.git", access(f"socks5://127.0.0.1:{port}"))


@pytest.mark.parametrize("kind", KINDS_OF_PROXY)
@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "localhost", "127.0.0.1"]
)
async def test_where_a_proxy_may_not_be(kind, host):
    """A proxy's address is judged as a server's: metadata services in any notation, and refused networks."""
    made = http_remote(Limits(deadline_s=10.0), refused_networks=["127.0.0.0/8", "::1/128"])
    try:
        wanted = (GitAddressRefused, GitUnsupported) if host.isdigit() else GitAddressRefused
        with pytest.raises(wanted):
            await ask(made, "http://git.invalid/app.git", access(f"{kind}://{host}:3128"))
    finally:
        await made.close()


async def test_a_proxy_is_no_way_around_the_judge(remote):
    """Through a source's proxy too, no metadata service is asked for by its address."""
    with pytest.raises(GitAddressRefused):
        await ask(remote, "http://169.254.169.254/x.git", access("http://127.0.0.1:1"))


def test_what_is_shared():
    """The same proxy and login is the same repository; another one, or none, is another. Nothing of it is shown."""
    url = "https://git.example/a"
    plain, one = Repository(url=url), Repository(url=url, proxy=access("http://p:1", LOGIN))
    assert one == Repository(url=url, proxy=access("http://p:1", LOGIN))
    others = [
        access("http://p:2", LOGIN),
        access("socks5://p:1", LOGIN),
        access("http://p:1"),
        access("http://p:1", "ab"),
    ]
    assert len({each.key for each in (plain, one, *(Repository(url=url, proxy=other) for other in others))}) == 6
    assert plain.key == "9fce7645e36e17eff96ce3cc03be104d"
    assert LOGIN[1] not in repr(one)
    assert LOGIN[0] not in repr(one.proxy)


async def test_a_proxy_slows_down_only_its_own_sources(git_server, remote):
    """What a source's proxy says in the name of a host holds for those behind that proxy, not for the host."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Wait\r\nRetry-After: 3000\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with serving(serve) as port, proxy("http") as (url, _):
        mean = access(f"http://127.0.0.1:{port}")
        for name in ("app", "other"):
            with pytest.raises(GitRateLimited):
                await ask(remote, f"http://git.invalid:{git_server.server_port}/{name}.git", mean)
        assert await ask(remote, f"http://git.invalid:{git_server.server_port}/app.git", access(url)) == made


async def test_many_proxies_keep_few_sessions(git_server, remote):
    """However many proxies sources name, only the sessions used of late are kept, and all of them work."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    target = f"http://git.invalid:{git_server.server_port}/app.git"
    async with proxy("socks5", LOGIN) as (url, seen):
        for number in range(70):
            with pytest.raises(GitAuthRequired):
                await ask(remote, target, access(url, ("me", f"{number}")))
        assert await ask(remote, target, access(url, LOGIN)) == made
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("url", "through", "problem"),
    [
        ("https://git.example/a", "http://u:sesame@p:1", "must be http://host:port"),
        ("https://git.example/a", "http://p", "must be http://host:port"),
        ("https://git.example/a", "https://p:1", "must be http://host:port"),
        ("https://git.example/a", "http://p:1\n", "must be http://host:port"),
        ("https://git.example/a", "http://p:70000", "at most 65535"),
        ("git@git.example:a/b", "http://p:1", "only for http and https"),
        ("ssh://git@git.example/a/b", "http://p:1", "only for http and https"),
    ],
)
async def test_what_is_no_proxy(remote, url, through, problem):
    """What cannot be a proxy, or not for this URL, is refused by the name of the field before anything is sent."""
    repository = Repository(url=url, ssh=SshAccess() if "git@" in url else None, proxy=access(through))
    with pytest.raises(GitUnsupported, match=problem) as caught:
        await remote.commit_of(GitRequest(repository, MAIN))
    assert "spec.proxy" in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("login", "problem"),
    [
        (("", "w"), "empty"),
        (("me", "\n"), "empty"),
        (("m:e", "w"), "colon"),
        (("me", "w" * 256), "255 bytes"),
        (("me", "wwwwö"), "ASCII"),
    ],
)
def test_a_secret_that_no_proxy_can_be_given(login, problem):
    """A user name or password that cannot be sent is said to be the Secret's fault, without it."""
    with pytest.raises(SecretUnusable, match=problem) as caught:
        proxy_of("socks5://p:1", dict(zip(PROXY_FILES.values(), login, strict=True)))
    assert "www" not in str(caught.value)


class Secrets:
    """The Secrets of two namespaces behind a cache; tells which were forgotten."""

    def __init__(self, password):
        self.held, self.cached, self.forgotten = password, password, []

    async def get(self, namespace, name, *keys):
        assert (namespace, name) == ("vault", "proxy")
        return {"username": b"me", "password": self.cached}

    def forget(self, namespace, name):
        self.forgotten.append((namespace, name))
        self.cached = self.held


async def test_a_source_object_with_a_proxy(git_server):
    """A ClusterGitRepo's proxy gets the login of the Secret in the namespace named; a rotated one is read anew."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    remotes = Remotes(settings=GitConfig, make=lambda git: git_remote(git, observer=Unobserved(), loopback=True))
    secrets = Secrets(b"old")
    sources = sources_of(secrets, remotes)
    try:
        async with proxy("http", ("me", "new")) as (url, _):
            source = parse(
                {
                    "apiVersion": KINDS["ClusterGitRepo"].api_version,
                    "kind": "ClusterGitRepo",
                    "metadata": {"name": "app", "uid": "1", "generation": 1},
                    "spec": {
                        "repoUri": f"http://git.invalid:{git_server.server_port}/app.git",
                        "proxy": {"url": url, "secretRef": {"name": "proxy", "namespace": "vault"}},
                    },
                }
            )
            with pytest.raises(GitError, match=r"spec\.proxy\.secretRef"):
                await sources.commit_of(source, "team", "branch", "main")
            secrets.held = b"new"
            assert (await sources.commit_of(source, "team", "branch", "main", urgent=True)).commit == made
    finally:
        await remotes.close()
    assert set(secrets.forgotten) == {("vault", "proxy")}
