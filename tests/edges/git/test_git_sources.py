"""Sources asked with the credentials that they name: rotated Secrets, changed settings, hosts that are counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from git_events_runner.edges.git import Unobserved
from git_events_runner.edges.git.access import ProxyAccess, SshAccess
from git_events_runner.edges.git.described import repository_of
from git_events_runner.edges.git.request import Credential, Repository
from git_events_runner.errors import GitAuthRequired, GitUnsupported, SecretUnusable
from git_events_runner.resources.description import CA_FILE, KEY_FILE, PROXY_FILES, SourceDescription
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ssh import HostKeyPolicy
from git_events_runner.rules.jobs.clone import describe
from git_events_runner.rules.jobs.run import SecretKeys
from git_events_runner.settings import GitConfig
from git_events_runner.wiring.config import git_remote
from git_events_runner.wiring.git_sources import GitSources, Remotes, read_keys
from git_events_runner.wiring.host_keys import HostKeys
from git_events_runner.wiring.kept_responses import KeptResponses
from git_events_runner.wiring.repositories import build_repository
from tests.edges.git.gitserver import commit, new_repository


class Secrets:
    """A cache in front of what the cluster holds; counts how often it was emptied."""

    def __init__(self, password):
        self.held, self.cached, self.forgotten = password, password, 0

    async def get(self, namespace, name, *keys):
        return {"username": b"me", "password": self.cached}

    def forget(self, namespace, name):
        self.forgotten += 1
        self.cached = self.held


def sources_of(secrets, remotes):
    """Sources without SSH."""
    answers = KeptResponses(now=lambda: datetime.now(UTC), shared=lambda _: None, room=lambda _: 0)
    keys = HostKeys(api=None, store=None, announcer=None, policy=HostKeyPolicy, now=lambda: datetime.now(UTC))
    return GitSources(secrets=secrets, host_keys=keys, remote=remotes.current, build=build_repository, answers=answers)


def source_of(url, *, name="app", secret=True):
    auth = {"authConfig": {"type": "basic", "secretRef": {"name": "login"}}} if secret else {}
    metadata = {"name": name, "namespace": "ns", "uid": name, "generation": 1}
    raw = {"apiVersion": KINDS["GitRepo"].api_version, "kind": "GitRepo", "metadata": metadata}
    return parse(raw | {"spec": {"repoUri": url} | auth})


@pytest.fixture
async def remotes():
    """Ways to git servers whose settings the test may change."""
    settings = {"git": GitConfig()}
    made = Remotes(
        settings=lambda: settings["git"], make=lambda git: git_remote(git, observer=Unobserved(), loopback=True)
    )
    made.change = lambda **fields: settings.update(git=GitConfig(**fields))
    yield made
    await made.close()


async def test_a_rotated_secret_is_read_anew_at_once(git_server, remotes):
    """A refused credential is read again past the cache, once for each refusal by the server, not for repeated ones."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    git_server.authorization = Credential.basic("me", "new").authorization
    secrets = Secrets(b"old")
    sources = sources_of(secrets, remotes)
    source = source_of(git_server.url("app.git"))
    for _ in range(5):
        with pytest.raises(GitAuthRequired):
            await sources.commit_of(source, "ns", "branch", "main")
    assert secrets.forgotten == 1
    assert len(git_server.exchanges) == 1
    secrets.held = b"new"
    assert (await sources.commit_of(source, "ns", "branch", "main", urgent=True)).commit == made


async def test_changed_settings_hold_for_the_next_question(git_server, remotes):
    """A change of the runtime config takes effect without a restart; one that changes nothing keeps connections."""
    commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    sources = sources_of(Secrets(b""), remotes)
    source = source_of(git_server.url("app.git"), secret=False)
    await sources.commit_of(source, "ns", "branch", "main")
    remotes.change()
    await sources.commit_of(source, "ns", "branch", "main")
    assert [exchange.method for exchange in git_server.exchanges] == ["GET", "POST", "POST"]
    remotes.change(allowed_schemes=("https",))
    with pytest.raises(GitUnsupported):
        await sources.commit_of(source, "ns", "branch", "main")
    assert len(git_server.exchanges) == 3


async def test_a_value_too_large_for_its_use():
    """A credential of 9 KiB is refused, with the Secret, the use and the limit in the message."""
    keys = SecretKeys(namespace="ns", name="login", files={"password": "password"})
    with pytest.raises(SecretUnusable, match="Secret ns/login: what is used as password has 9216 bytes; at most 8192"):
        await read_keys(Secrets(b"p" * 9216), keys)


async def test_a_credential_that_no_request_can_carry_names_its_secret(git_server, remotes):
    """A user name with a colon, which HTTP Basic has no room for: the error has the Secret's place."""

    class Colon(Secrets):
        async def get(self, namespace, name, *keys):
            return {"username": b"me:too", "password": self.cached}

    sources = sources_of(Colon(b"word"), remotes)
    with pytest.raises(SecretUnusable, match=r"^Secret ns/login: the user name holds a colon") as refused:
        await sources.commit_of(source_of(git_server.url("app.git")), "ns", "branch", "main")
    assert refused.value.reason == "SecretInvalid"
    assert git_server.exchanges == []


async def test_a_former_way_to_git_servers_is_closed_with_its_last_request():
    """One that was idle when the settings changed, with the next request of all; that of the settings stays open."""

    class Way:
        closed = False

        async def close(self):
            assert not self.closed
            self.closed = True

    settings = [GitConfig()]
    remotes = Remotes(settings=lambda: settings[0], make=lambda _: Way())
    async with remotes.current() as first:
        settings[0] = GitConfig(allowed_schemes=("https",))
        async with remotes.current() as second, remotes.current() as same:
            assert second is same
        assert (second is first, first.closed) == (False, False)
    assert (first.closed, second.closed) == (True, False)
    settings[0] = GitConfig()
    async with remotes.current() as third:
        pass
    assert (second.closed, third.closed) == (True, False)
    await remotes.close()
    assert third.closed


_HOST = "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
_REF = {"secretRef": {"name": "login"}}
_FILES = {"username": "me", "password": "word", "token": "Bearer x", KEY_FILE: "key", CA_FILE: "pem"}
_FILES |= dict.fromkeys(PROXY_FILES.values(), "proxy")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"repoUri": "https://h/a"}, {}),
        (
            {"repoUri": "https://h/a", "authConfig": {"type": "basic"} | _REF},
            {"credential": Credential.basic("me", "word")},
        ),
        (
            {"repoUri": "https://h/a", "authConfig": {"type": "token"} | _REF},
            {"credential": Credential.token("Bearer x")},
        ),
        ({"repoUri": "https://h/a", "tlsConfig": {"noVerifySsl": True}}, {"verify": False}),
        ({"repoUri": "https://h/a", "tlsConfig": {"caCert": _REF}}, {"ca_pem": "pem"}),
        (
            {"repoUri": "https://h/a", "proxy": {"url": "http://p:1"} | _REF},
            {"proxy": ProxyAccess(url="http://p:1", username="proxy", password="proxy")},
        ),
        (
            {"repoUri": "ssh://git@h/a", "authConfig": {"type": "ssh"} | _REF},
            {"ssh": SshAccess(private_key="key", known_hosts=_HOST)},
        ),
    ],
)
def test_a_source_is_the_same_repository_for_the_controller_and_for_its_jobs(spec, expected):
    """Each part of a source becomes a part of the request, also through the description that a Job gets as JSON."""
    kind, metadata = KINDS["GitRepo"], {"name": "app", "namespace": "ns", "uid": "u", "generation": 1}
    model = parse({"apiVersion": kind.api_version, "kind": "GitRepo", "metadata": metadata, "spec": spec})
    policy = HostKeyPolicy(mode="strict", known_hosts=_HOST)
    described = describe(model, policy)
    wanted = Repository(url=spec["repoUri"], **expected)
    values = {name: value for name, value in _FILES.items() if name != CA_FILE or described.has_ca}
    for each in (described, SourceDescription.parse(described.to_json())):
        assert repository_of(each, values).key == wanted.key
