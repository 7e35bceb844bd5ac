"""Git over SSH against OpenSSH, Gitea's own server and JGit on Apache MINA: answers, keys, host keys, connections."""

from __future__ import annotations

import asyncio
import gc
import pwd
import subprocess
import sys

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.allowed_addresses import Addresses
from git_events_runner.edges.git.rate_limits import Unobserved
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.edges.git.ssh.transport import SshTransport, upload_pack
from git_events_runner.errors import (
    GitAddressRefused,
    GitAuthRequired,
    GitError,
    GitHostKeyChanged,
    GitHostKeyUnknown,
    GitNotFound,
    GitReferenceNotFound,
    GitTooLarge,
    GitUnreachable,
    GitUnsupported,
    SecretUnusable,
)
from git_events_runner.resources.ssh import fingerprint
from tests.cluster.plane import wait_until
from tests.edges.git.gitserver import commit, git, new_repository
from tests.servers import sshd as servers

MAIN = Reference("branch", "main")


def ssh_transport(**limits):
    return SshTransport(limits=Limits(**limits), addresses=Addresses(), observer=Unobserved())


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    try:
        server = servers.Sshd(tmp_path_factory.mktemp("sshd"))
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.close()


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "team" / "it's app!.git")


@pytest.fixture
async def transport():
    made = ssh_transport()
    yield made
    await made.close()
    gc.collect()  # what was left open would warn here


def served(sshd, path, **access):
    known = {"private_key": sshd.key.read_text(), "known_hosts": sshd.line()}
    return Repository(url=sshd.url(path).replace(" ", "%20"), ssh=SshAccess(**known | access))


def at(sshd, path, **access):
    """As `served`, for paths that no URL pattern would let pass."""
    made = served(sshd, "/x", **access)
    object.__setattr__(made, "url", sshd.url(path))
    return made


async def ask(remote, repository, reference=MAIN):
    return (await remote.commit_of(GitRequest(repository, reference), urgent=True)).commit


async def test_branches_tags_and_trees(sshd, tmp_path, remote):
    """Branches, both kinds of tags and full names are answered, trees are fetched, what is not there is named."""
    path = new_repository(tmp_path / "app.git")
    first = commit(path, {"a": b"1", "d/b": b"2"})
    git("tag", "light", cwd=path)
    git("tag", "-a", "-m", "m", "noted", cwd=path)
    git("update-ref", "refs/pull/7/head", first, cwd=path)
    second = commit(path, {"a": b"2"}, parent=first)
    there = served(sshd, path)
    assert await ask(remote, there) == second
    assert await ask(remote, there, Reference("tag", "light")) == first
    noted = await remote.commit_of(GitRequest(there, Reference("tag", "noted")))
    assert (noted.commit, noted.tag_object) == (first, git("rev-parse", "refs/tags/noted", cwd=path))
    assert await ask(remote, there, Reference("branch", "refs/pull/7/head")) == first
    assert [entry.path for entry in await remote.tree(there, first)] == ["a", "d/b"]
    for missing in (Reference("branch", "nope"), Reference("tag", "main")):
        with pytest.raises(GitReferenceNotFound):
            await ask(remote, there, missing)
    with pytest.raises(GitReferenceNotFound):
        await remote.tree(there, "1" * 40)


async def test_under_a_user_id_without_a_name(sshd, tmp_path, remote, monkeypatch):
    """As OpenShift assigns them: the library asks for the local user's name, which it never sends."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    path = new_repository(tmp_path / "app.git")
    made = commit(path, {"a": b"1"})
    assert await ask(remote, served(sshd, path)) == made


async def test_empty_and_sha256_repositories(sshd, tmp_path, remote):
    """An empty repository has no branch; one with sha256 ids is answered like any other."""
    empty = new_repository(tmp_path / "empty.git")
    with pytest.raises(GitReferenceNotFound):
        await ask(remote, served(sshd, empty))
    path = new_repository(tmp_path / "new.git", "--object-format=sha256")
    made = commit(path, {"a": b"1"})
    assert len(made) == 64
    assert await ask(remote, served(sshd, path)) == made
    assert [entry.path for entry in await remote.tree(served(sshd, path), made)] == ["a"]


async def test_a_server_without_protocol_v2(tmp_path, remote):
    """A server that takes no GIT_PROTOCOL answers in v0, with peeled tags, shallow packs and missing references."""
    try:
        server = servers.Sshd(tmp_path / "ssh", extra="")
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    try:
        path = new_repository(tmp_path / "app.git")
        first = commit(path, {"a": b"1"})
        git("tag", "-a", "-m", "m", "noted", cwd=path)
        commit(path, {"a": b"2", "b": b"x" * 1000}, parent=first)
        there = served(server, path)
        assert await ask(remote, there, Reference("tag", "noted")) == first
        assert [entry.path for entry in await remote.tree(there, first)] == ["a"]
        with pytest.raises(GitReferenceNotFound):
            await ask(remote, there, Reference("branch", "nope"))
        for number in range(300):
            git("update-ref", f"refs/heads/b{number}", first, cwd=path)
        small = ssh_transport(advertisement_bytes=4096)
        with pytest.raises(GitTooLarge):
            await small.ls_refs(there, ("refs/heads/main",))
        await small.close()
    finally:
        server.close()


async def test_quoting(sshd, repository, transport):
    """A path with quotes, blanks and shell signs is one argument on the server, and no command."""
    made = commit(repository, {"a": b"1"})
    url = sshd.url(repository)
    assert upload_pack(Repository(url="git@h:a'b!c")) == r"git-upload-pack 'a'\''b'\!'c'"
    done = subprocess.run(  # noqa: ASYNC221  no loop waits for it
        [
            "sh",
            "-c",
            upload_pack(Repository(url="git@h:x/$(touch$IFS/y);'`id`")).replace("git-upload-pack", "echo"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "x/$(touch$IFS/y);'`id`\n"
    assert " " in url
    for bad in (url, "git@h:-x/y", "ssh://h", "ssh://h/a\nb", "ssh://-h/a", "ssh://h:0/a", "ssh://h:70000/a"):
        with pytest.raises(GitUnsupported):
            await transport.ls_refs(Repository(url=bad), ("refs/heads/main",))
    renamed = repository.rename(repository.with_name("it's_app!.git"))
    refs = await transport.ls_refs(at(sshd, renamed), ("refs/heads/main",))
    assert refs["refs/heads/main"].object_id == made


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("form", [None, "PEM"])
async def test_private_keys(sshd, tmp_path, remote, kind, form):
    """Keys of every type are read in OpenSSH's form and in PEM, encrypted ones with their passphrase only."""
    path = new_repository(tmp_path / "app.git")
    made = commit(path, {"a": b"1"})
    key = servers.keygen(tmp_path / "key", kind, passphrase="pass word", form=form)
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(servers.public(key) + "\n")
    text = key.read_text()
    assert await ask(remote, served(sshd, path, private_key=text, passphrase="pass word")) == made
    assert await ask(remote, served(sshd, path, private_key=text.replace("\n", "\r\n"), passphrase="pass word")) == made
    for passphrase in (None, "wrong"):
        with pytest.raises(SecretUnusable, match="passphrase") as error:
            await ask(remote, served(sshd, path, private_key=text, passphrase=passphrase))
        assert error.value.reason == "SecretInvalid"
    with pytest.raises(SecretUnusable, match="cannot be read"):
        await ask(remote, served(sshd, path, private_key=sshd.key.read_text()[:100]))


async def test_refusals(sshd, tmp_path, remote):
    """A wrong key, no key, no repository and no server are told apart; no key material is in a message."""
    path = new_repository(tmp_path / "app.git")
    stranger = servers.keygen(tmp_path / "stranger").read_text()
    for key in (stranger, None):
        with pytest.raises(GitAuthRequired, match="key"):
            await ask(remote, served(sshd, path, private_key=key))
    with pytest.raises(GitNotFound):
        await ask(remote, served(sshd, tmp_path / "nope.git"))
    with pytest.raises(GitUnreachable):
        await ask(remote, Repository(url="ssh://127.0.0.1:1/x.git", ssh=SshAccess(known_hosts=sshd.line())))
    with pytest.raises(GitUnreachable, match="does not resolve"):
        await ask(remote, Repository(url="git@nowhere.invalid:a/b", ssh=SshAccess(private_key=stranger)))
    access = SshAccess(private_key=stranger, passphrase="pass")
    assert "SshAccess(***)" in repr(Repository(url="git@h:a/b", ssh=access))


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::ffff:169.254.1.1]", "127.0.0.1"])
async def test_addresses_that_no_source_may_lead_to(host):
    """Link-local and metadata addresses, and the networks of the setting, are refused before anything connects."""
    remote = http_remote(Limits(), refused_networks=("127.0.0.0/8",))
    with pytest.raises(GitAddressRefused):
        await ask(remote, Repository(url=f"ssh://git@{host}:1/a/b", ssh=SshAccess()))
    await remote.close()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_a_known_key_of_any_type_is_enough(sshd, tmp_path, remote, kind):
    """Of a server with keys of all types the known one is asked for, whatever the server would prefer."""
    path = new_repository(tmp_path / "app.git")
    made = commit(path, {"a": b"1"})
    assert await ask(remote, served(sshd, path, known_hosts=sshd.line(kind))) == made


async def test_unknown_and_changed_host_keys_are_refused(sshd, tmp_path, remote):
    """Both errors bear the key that was shown; a revoked key is refused; insecure takes any key."""
    path = new_repository(tmp_path / "app.git")
    made = commit(path, {"a": b"1"})
    other = servers.public(servers.keygen(tmp_path / "other"))
    shown = servers.public(sshd.host_keys["ed25519"])
    for known in ("", "elsewhere " + shown, "not a line"):
        with pytest.raises(GitHostKeyUnknown) as unknown:
            await ask(remote, served(sshd, path, known_hosts=known))
        assert unknown.value.offered == shown
    with pytest.raises(GitHostKeyChanged) as changed:
        await ask(remote, served(sshd, path, known_hosts=f"{sshd.place} {other}"))
    assert changed.value.offered == shown
    assert fingerprint(other) in str(changed.value)
    assert fingerprint(shown) in str(changed.value)
    with pytest.raises(GitHostKeyChanged, match="revoked"):
        await ask(remote, served(sshd, path, known_hosts=f"@revoked {sshd.place} {shown}\n{sshd.line('rsa')[:0]}"))
    assert await ask(remote, served(sshd, path, known_hosts=f"{sshd.place} {other}", insecure=True)) == made


async def test_a_removed_key_type_counts_as_a_change(tmp_path, remote):
    """A server that no longer has the known key is refused with the key that it shows instead."""
    try:
        server = servers.Sshd(tmp_path / "ssh", types=("rsa",))
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    try:
        path = new_repository(tmp_path / "app.git")
        made = commit(path, {"a": b"1"})
        assert await ask(remote, served(server, path, known_hosts=server.line("rsa"))) == made
        server.restart(types=("rsa", "ed25519"))
        assert await ask(remote, served(server, path, known_hosts=server.line("rsa"))) == made
        server.restart(types=("ed25519",))
        with pytest.raises(GitHostKeyChanged) as changed:
            await ask(remote, served(server, path, known_hosts=server.line("rsa")))
        assert changed.value.offered == servers.public(server.host_keys["ed25519"])
    finally:
        server.close()


async def test_host_certificates(tmp_path, remote):
    """A host certificate counts where its authority is known, and is not asked for where none is."""
    try:
        server = servers.Sshd(tmp_path / "ssh", types=("ed25519",))
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    try:
        authority = servers.keygen(tmp_path / "authority")
        host = server.host_keys["ed25519"]
        command = ["ssh-keygen", "-q", "-s", authority, "-h", "-I", "x", "-n", "127.0.0.1", f"{host}.pub"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221  no loop waits for it
        options = f"AcceptEnv GIT_PROTOCOL\nHostCertificate {host}-cert.pub"
        server.restart(types=("ed25519",), extra=options)
        path = new_repository(tmp_path / "app.git")
        made = commit(path, {"a": b"1"})
        trusted = f"@cert-authority {server.place} {servers.public(authority)}"
        assert await ask(remote, served(server, path, known_hosts=trusted)) == made
        assert await ask(remote, served(server, path)) == made
        wrong = f"@cert-authority {server.place} {servers.public(server.key)}"
        with pytest.raises(GitHostKeyChanged):
            await ask(remote, served(server, path, known_hosts=wrong))
    finally:
        server.close()


async def test_connections_are_kept_and_shared(sshd, tmp_path, transport):
    """Questions one after the other use one login, sixteen at once two (eight sessions on each)."""
    path = new_repository(tmp_path / "app.git")
    commit(path, {"a": b"1"})
    sshd.restart()
    there, names = served(sshd, path), ("refs/heads/main",)
    for _ in range(3):
        await transport.ls_refs(there, names)
    assert (sshd.logins, sshd.commands) == (1, 3)
    await asyncio.gather(*(transport.ls_refs(there, names) for _ in range(16)))
    assert sshd.logins <= 3
    assert sshd.commands == 19


async def test_a_server_that_allows_one_session(tmp_path, transport):
    """Where the server counts fewer sessions than we would open, more connections are opened instead of failing."""
    try:
        server = servers.Sshd(tmp_path / "ssh", extra="AcceptEnv GIT_PROTOCOL\nMaxSessions 1")
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    try:
        path = new_repository(tmp_path / "app.git")
        commit(path, {"a": b"1"})
        there, names = served(server, path), ("refs/heads/main",)
        await transport.ls_refs(there, names)
        answers = await asyncio.gather(*(transport.ls_refs(there, names) for _ in range(6)))
        assert len(answers) == 6
        assert server.logins <= 7
    finally:
        server.close()


async def test_a_restarted_server_is_asked_again(sshd, tmp_path, transport):
    """A kept connection that the server closed meanwhile costs a new login, not an error."""
    path = new_repository(tmp_path / "app.git")
    commit(path, {"a": b"1"})
    there, names = served(sshd, path), ("refs/heads/main",)
    await transport.ls_refs(there, names)
    sshd.restart()
    assert await transport.ls_refs(there, names)
    assert sshd.logins == 1


async def test_cancelling_frees_the_session(sshd, tmp_path, transport):
    """A cancelled question leaves nothing behind that would count against the next ones."""
    path = new_repository(tmp_path / "app.git")
    commit(path, {"a": b"1"})
    there, names = served(sshd, path), ("refs/heads/main",)
    await transport.ls_refs(there, names)
    for delay_s in (0.0, 0.001, 0.01, 0.03, 0.05) * 6:
        asking = asyncio.ensure_future(transport.ls_refs(there, names))
        await asyncio.wait({asking}, timeout=delay_s)
        asking.cancel()
        await asyncio.wait({asking})
    assert await transport.ls_refs(there, names)

    def under_way():
        return sum(each.channels for found in transport._connections._open.values() for each in found)

    await asyncio.to_thread(wait_until, "every session has ended", lambda: under_way() == 0)


async def test_a_large_pack_in_small_memory(sshd, tmp_path):
    """A pack above its limit is refused on the way; below it, no more than the window is held in memory."""
    path = new_repository(tmp_path / "app.git")
    content = b"".join(number.to_bytes(4) for number in range(2**19))
    made = commit(path, {"a": content, "b": content[::-1]})
    small = ssh_transport(pack_bytes=2**20)
    taken = []
    with pytest.raises(GitTooLarge):
        await small.fetch(served(sshd, path), made, blobless=False, write=taken.append)
    assert sum(map(len, taken)) <= 2**20
    await small.close()


async def test_gitea_with_a_deploy_key(forge, tmp_path):
    """A forge's own SSH server gives a private repository to its deploy key, over v2, and to no other key."""
    made = forge.repository(private=True)
    head = made.push({"README": "one\n"})
    key = servers.keygen(tmp_path / "key")
    known = f"[127.0.0.1]:{forge.ssh_port} {forge.host_key}"
    access = SshAccess(private_key=key.read_text(), known_hosts=known)
    first, remote = http_remote(Limits()), http_remote(Limits())  # the first one leaves the source alone for a while
    try:
        with pytest.raises(GitAuthRequired):
            await ask(first, Repository(url=made.ssh_url, ssh=access))
        made.deploy_key(servers.public(key))
        there = Repository(url=made.ssh_url, ssh=access)
        assert await ask(remote, there) == head
        assert [entry.path for entry in await remote.tree(there, head)] == ["README"]
        other = forge.repository(private=True)
        with pytest.raises(GitError) as error:
            await ask(remote, Repository(url=other.ssh_url, ssh=access))
        assert error.value.reason in {"RepositoryNotFound", "AccessDenied"}
        wrong = SshAccess(known_hosts=f"[127.0.0.1]:{forge.ssh_port} {servers.public(key)}")
        with pytest.raises(GitHostKeyChanged):
            await ask(remote, Repository(url=made.ssh_url, ssh=wrong))
    finally:
        await first.close()
        await remote.close()


async def test_jgit_on_apache_mina(jgit_server, tmp_path):
    """JGit behind Apache MINA answers over v2, gives trees, and tells a missing repository."""
    made = jgit_server.repository()
    head = made.push({"README": "one\n"})
    made.tag("v1", annotated=True)
    key = servers.keygen(tmp_path / "key")
    jgit_server.allow_key(servers.public(key))
    known = f"[127.0.0.1]:{jgit_server.ssh_port} {jgit_server.host_key}"
    access = SshAccess(private_key=key.read_text(), known_hosts=known)
    remote = http_remote(Limits())
    try:
        there = Repository(url=f"ssh://git@127.0.0.1:{jgit_server.ssh_port}/{made.name}.git", ssh=access)
        assert await ask(remote, there) == head
        assert await ask(remote, there, Reference("tag", "v1")) == head
        assert [entry.path for entry in await remote.tree(there, head)] == ["README"]
        with pytest.raises(GitNotFound):
            await ask(remote, Repository(url=f"ssh://git@127.0.0.1:{jgit_server.ssh_port}/nope.git", ssh=access))
    finally:
        await remote.close()


def test_the_library_is_imported_when_needed():
    """The git edge is there without asyncssh in memory."""
    code = "import sys, git_events_runner.edges.git; print('asyncssh' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
