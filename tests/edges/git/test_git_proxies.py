"""Proxies from the environment: which one leads where, and questions that go through them."""

from __future__ import annotations

import pytest
from yarl import URL

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.http.proxies import Proxies
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import GitAddressRefused, GitUnreachable, GitUnsupported
from tests.edges.git.gitserver import GitServer, commit, new_repository
from tests.edges.git.proxies import proxy

MAIN = Reference("branch", "main")
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
BOTH = {"http_proxy": "http://p:1", "HTTPS_PROXY": "p:2", "no_proxy": "x.org,.y.org,10.0.0.0/8,z:8443,[::1]"}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Each test names its own."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "https://a.org/x", None),
        (BOTH, "http://a.org/x", "http://p:1"),
        (BOTH, "https://a.org/x", "http://p:2"),
        (BOTH, "https://x.org/x", None),
        (BOTH, "https://sub.x.org/x", None),
        (BOTH, "https://notx.org/x", "http://p:2"),
        (BOTH, "https://a.y.org/x", None),
        (BOTH, "https://10.1.2.3/x", None),
        (BOTH, "https://11.1.2.3/x", "http://p:2"),
        (BOTH, "https://z:8443/x", None),
        (BOTH, "https://z/x", "http://p:2"),
        (BOTH, "https://[::1]/x", None),
        ({"ALL_PROXY": "socks5://p:3"}, "https://a.org/x", "socks5://p:3"),
        ({"all_proxy": "socks5h://p:3", "http_proxy": "http://p:1"}, "http://a.org/x", "http://p:1"),
        ({"https_proxy": "http://p:1", "NO_PROXY": "*"}, "https://a.org/x", None),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "https://a.org/x", "http://lower:1"),
    ],
)
def test_which_proxy_leads_to_a_url(environ, url, expected):
    """The variables mean what they mean to curl: by scheme, ALL_PROXY for the rest, NO_PROXY by domain and network."""
    found = Proxies.of(environ).proxy_for(URL(url))
    assert (str(found) if found else None) == (expected and str(URL(expected)))


@pytest.mark.parametrize("text", ["ftp://p:1", "http://", "socks5://:1080", "http://[", "://"])
def test_a_variable_that_holds_no_proxy_is_an_error(text):
    """A broken variable fails the question and is not repeated: it may hold a password."""
    with pytest.raises(GitUnsupported) as caught:
        Proxies.of({"https_proxy": text}).proxy_for(URL("https://a.org"))
    assert text not in str(caught.value)


async def answer(url, **options):
    """The commit of main, by an edge of its own."""
    remote = http_remote(Limits(deadline_s=10.0))
    try:
        return (await remote.commit_of(GitRequest(Repository(url=url, **options), MAIN))).commit
    finally:
        await remote.close()


async def test_through_an_http_proxy(git_server, monkeypatch):
    """Plain HTTP goes to the proxy with whole URLs and its credential; the server gets the source's credential only."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    async with proxy("http") as (url, seen):
        monkeypatch.setenv("http_proxy", url.replace("//", "//me:word@"))
        secret = Credential.basic("user", "pass")
        assert await answer(f"http://git.invalid:{git_server.server_port}/app.git", credential=secret) == made
    assert {(method, target.partition("/app.git")[0]) for method, target, _ in seen} == {
        ("GET", f"http://git.invalid:{git_server.server_port}"),
        ("POST", f"http://git.invalid:{git_server.server_port}"),
    }
    assert seen[0][2].startswith("Basic ")
    assert {each.authorization for each in git_server.exchanges} == {secret.authorization}


async def test_https_through_a_tunnel(tmp_path, certificates, monkeypatch):
    """HTTPS goes through CONNECT: the proxy sees neither path nor credential, and the server's certificate counts."""
    with GitServer(tmp_path, tls=certificates.server_context()) as server:
        made = commit(new_repository(tmp_path / "app.git"), {"a": b"1"})
        async with proxy("http") as (url, seen):
            monkeypatch.setenv("HTTPS_PROXY", url)
            secret = Credential.token("Bearer sesame")
            assert await answer(server.url("app.git"), credential=secret, ca_pem=certificates.ca_pem) == made
        assert [(method, target) for method, target, _ in seen] == [("CONNECT", f"127.0.0.1:{server.server_port}")]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_through_a_socks_proxy(git_server, monkeypatch, scheme):
    """A SOCKS proxy gets the name and resolves it itself."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    async with proxy("socks5") as (url, seen):
        monkeypatch.setenv("ALL_PROXY", url.replace("socks5", scheme))
        assert await answer(f"http://git.invalid:{git_server.server_port}/app.git") == made
    assert {target for _, target, _ in seen} == {f"git.invalid:{git_server.server_port}"}


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_that_is_not_there(monkeypatch, kind):
    """A proxy that refuses connections makes the source unreachable; its credential is not repeated."""
    monkeypatch.setenv("ALL_PROXY", f"{kind}://me:word@127.0.0.1:1")
    with pytest.raises(GitUnreachable) as caught:
        await answer("http://git.invalid/app.git")
    assert "word" not in str(caught.value)


async def test_a_proxy_is_no_way_to_forbidden_addresses(monkeypatch):
    """Through a proxy too, a source may not name a metadata service by its address."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with pytest.raises(GitAddressRefused):
        await answer("http://169.254.169.254/x.git")
