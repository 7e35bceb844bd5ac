"""Where sources may lead in `run`: refusals after resolution, their one text, and the networks that are let through."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from git_events_runner.edges.git import Unobserved
from git_events_runner.edges.git.access import ProxyAccess, SshAccess
from git_events_runner.edges.git.allowed_addresses import LOOPBACK, Addresses
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.errors import GitAddressRefused, GitError
from git_events_runner.settings import GitConfig, Settings
from git_events_runner.wiring.config import git_remote
from tests.edges.git.gitserver import commit, new_repository

MAIN = Reference("branch", "main")
LOCAL = ("127.0.0.1", "127.1.2.3", "localhost", "LocalHost.", "a.localhost", "[::1]", "[::ffff:127.0.0.1]")
NUMBERS = ("2130706433", "0x7f000001", "127.1", "0177.0.0.1")
ELSEWHERE = ("10.96.0.1", "10.200.0.7", "192.0.2.1", "[fd00:10::1]", "169.254.169.254", "0.0.0.0")
NETWORKS = {"cluster_networks": ("10.96.0.0/12", "fd00:10::/64"), "refused_networks": ("192.0.2.0/24",)}


@pytest.fixture
async def strict():
    """As `run` asks, with the cluster's ranges and a network of the administrator's refused."""
    made = git_remote(GitConfig(**NETWORKS), observer=Unobserved(), own_addresses=("10.200.0.7",))
    yield made
    await made.close()


@pytest.fixture
def open_port():
    """A port of this machine where a server listens, which fails the test when it is connected to."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.setblocking(False)
        yield listener.getsockname()[1]
        with pytest.raises(BlockingIOError):
            listener.accept()


def sources(host, port):
    """Every way by which a source may name a host: as the server over HTTP and SSH, as a proxy, behind a proxy."""
    yield Repository(url=f"http://{host}:{port}/x.git")
    yield Repository(url=f"https://{host}:{port}/x.git")
    yield Repository(url=f"ssh://git@{host}:{port}/a/b", ssh=SshAccess())
    for kind in ("http", "socks5", "socks5h"):
        yield Repository(url="http://git.invalid/x.git", proxy=ProxyAccess(url=f"{kind}://{host}:{port}"))
        yield Repository(url=f"http://{host}:{port}/x.git", proxy=ProxyAccess(url=f"{kind}://192.0.2.9:3128"))


async def test_a_refusal_tells_nothing_of_the_address(strict, open_port):
    """Open, closed and foreign ports, names and numbers, servers and proxies: one text, and nothing is connected to."""
    texts, asked = set(), 0
    for host in (*LOCAL, *ELSEWHERE):
        for port in (open_port, 1):
            for repository in sources(host, port):
                with pytest.raises(GitAddressRefused) as refused:
                    await strict.commit_of(GitRequest(repository, MAIN), urgent=True)
                texts.add(str(refused.value))
                asked += 1
    assert asked > 150
    assert len(texts) == 1


@pytest.mark.parametrize("host", NUMBERS)
async def test_numbers_are_addresses_behind_a_proxy_too(strict, host):
    """A proxy would read `2130706433` as 127.0.0.1, so a source may not name it either."""
    for proxy in (None, ProxyAccess(url="http://192.0.2.9:3128"), ProxyAccess(url=f"socks5://{host}:1")):
        with pytest.raises(GitError) as refused:
            await strict.commit_of(GitRequest(Repository(url=f"http://{host}:1/x.git", proxy=proxy), MAIN))
        assert not refused.value.retryable


async def test_a_network_that_is_allowed_again(git_server):
    """`git.allowedNetworks` lets sources to a server on loopback, as in a sidecar; so does the process's setting."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    question = GitRequest(Repository(url=git_server.url("app.git")), MAIN)
    for remote in (
        git_remote(GitConfig(allowed_networks=("127.0.0.1/32",)), observer=Unobserved()),
        git_remote(GitConfig(), observer=Unobserved(), loopback=True),
    ):
        assert (await remote.commit_of(question)).commit == made
        await remote.close()
    other = git_remote(GitConfig(allowed_networks=("127.0.0.2/32",)), observer=Unobserved())
    with pytest.raises(GitAddressRefused):
        await other.commit_of(question)
    await other.close()


def test_exceptions_are_to_settings_only():
    """One address of a refused network is let through; a metadata service never is, in no notation."""
    judge = Addresses([*LOOPBACK, "10.0.0.0/8"], allowed=["10.9.9.9/32", "::/0", "169.254.0.0/16"])
    assert judge.allows("10.9.9.9")
    assert not judge.allows("10.9.9.8")
    assert not judge.allows("127.0.0.1")
    assert judge.allows("::1")
    assert not any(judge.allows(each) for each in ("169.254.169.254", "fd00:ec2::254", "::ffff:10.9.9.8", "fe80::1"))


def test_addresses_of_the_process():
    """The pod's addresses and the API server's Service are known from the environment; a name there is none of them."""
    environment = {"POD_IPS": "10.1.2.3,fd00::3", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    assert Settings.of({}, environment).own_addresses == ("10.1.2.3", "fd00::3", "10.96.0.1")
    assert Settings.of({}, {"POD_IPS": "", "KUBERNETES_SERVICE_HOST": "api.example"}).own_addresses == ()
    allowed = [Settings.of({}, {"GIT_EVENTS_RUNNER_ALLOW_LOOPBACK": text}).allow_loopback for text in ("true", "", "0")]
    assert allowed == [True, False, False]
