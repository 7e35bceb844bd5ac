"""The cloner against a real git server: what lies on the disk afterwards, and what it says."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading

import pytest

from git_events_runner.cloner.__main__ import run
from git_events_runner.cloner.clone import CloneRequest, clone
from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.request import Reference, Repository
from git_events_runner.errors import GitUnreachable
from git_events_runner.resources.description import SOURCE_VARIABLE, WAIT_VARIABLE, SourceDescription
from tests.cloner.cloning import blob_of, cloned, tree_of
from tests.edges.git.gitserver import Certificates, GitServer, commit, commit_tree, git, new_repository
from tests.edges.git.proxies import proxy


def git_in(target, *arguments):
    options = ("-c", f"safe.directory={target}")
    return git(*options, *arguments, cwd=target)


@pytest.mark.parametrize("kept", [False, True])
def test_files_modes_and_links(server, repository, target, capsys, kept):
    """Files, programs, links and odd names lie there as git puts them for a group, `.git` only if asked for."""
    plain, link = blob_of(repository, b"text"), blob_of(repository, b"d/file")
    below = tree_of(repository, (b"100644", b"file", plain), (b"100755", b"run", plain))
    tree = tree_of(
        repository,
        (b"100664", b"na\xefve", plain),
        (b"40000", b"d", below),
        (b"120000", b"link", link),
        (b"160000", b"sub", "1" * 40),
    )
    made = commit_tree(repository, tree)
    assert cloned(server, target, "--branch", "main", *(["-p"] if kept else [])) == 0
    there = {os.fsencode(entry.name) for entry in target.iterdir()}
    assert there == {b"na\xefve", b"d", b"link", b"sub"} | ({b".git"} if kept else set())
    assert (target / "d/file").read_bytes() == b"text"
    assert stat.S_IMODE((target / "d/file").stat().st_mode) == 0o664
    assert stat.S_IMODE((target / "d/run").stat().st_mode) == 0o775
    assert (target / "link").readlink() == type(target)("d/file")
    assert list((target / "sub").iterdir()) == []
    out = capsys.readouterr()
    assert out.out.count("\n") == 1
    assert f"at {made[:12]}: 4 files, 18 bytes" in out.out
    assert "submodules are not cloned" in out.err


@pytest.mark.parametrize("by", ["branch", "tag", "commit"])
def test_a_kept_git_folder_is_a_clean_shallow_repository(server, repository, target, by):
    """`git status`, `git log` and `git fsck` are content with `.git`; it holds one commit and no more."""
    first = commit(repository, {"a": b"1", "b/c": b"2"})
    second = commit(repository, {"a": b"3", "b/c": b"2"}, parent=first)
    git("tag", "-a", "-m", "m", "v1", second, cwd=repository)
    name = {"branch": "main", "tag": "v1", "commit": second}[by]
    assert cloned(server, target, f"--{by}={name}", "--preserve-git-folder") == 0
    assert git_in(target, "status", "--porcelain") == ""
    assert git_in(target, "log", "--format=%H") == second
    assert git_in(target, "rev-parse", "--is-shallow-repository") == "true"
    assert git_in(target, "fsck") == ""
    assert git_in(target, "branch", "--show-current") == ("main" if by == "branch" else "")


def test_an_old_commit(server, repository, target):
    """A commit that is no branch's head any more is cloned by its id."""
    first = commit(repository, {"a": b"1"})
    commit(repository, {"a": b"2"}, parent=first)
    assert cloned(server, target, "--commit", first) == 0
    assert (target / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "name",
    [
        b"..",
        b".",
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b".git ",
        b".git.",
        b".git::$INDEX_ALLOCATION",
        b".g\xe2\x80\x8cit",
        b"a/b",
        b"/etc",
        b".git\\x",
    ],
)
def test_unsafe_names_are_refused(server, repository, target, tmp_path, capsys, name):
    """No name of git's folder on any file system, no step up, no path as a name is written."""
    commit_tree(repository, tree_of(repository, (b"100644", name, blob_of(repository))))
    assert cloned(server, target, "--branch", "main") == 6
    assert "git does not allow" in capsys.readouterr().err
    below = tree_of(repository, (b"40000", name, tree_of(repository, (b"100644", b"config", blob_of(repository)))))
    commit_tree(repository, below)
    assert cloned(server, target, "--branch", "main") == 6
    assert {entry.name for entry in tmp_path.iterdir()} == {"served", "target"}


def test_nothing_is_written_through_a_link(server, repository, target, tmp_path):
    """A link and a folder of one name are refused; the folder's file does not land where the link leads."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = blob_of(repository, os.fsencode(outside))
    below = tree_of(repository, (b"100644", b"hurt", blob_of(repository)))
    for entries in (
        ((b"120000", b"a", link), (b"40000", b"a", below)),
        ((b"120000", b"a", link), (b"100644", b"a", blob_of(repository))),
    ):
        commit_tree(repository, tree_of(repository, *entries))
        assert cloned(server, target, "--branch", "main") == 6
        assert list(outside.iterdir()) == []


def test_a_link_outwards_is_a_link(server, repository, target, tmp_path):
    """A link that leads outside is made as it is and not followed; cleaning up does not follow it either."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    commit_tree(repository, tree_of(repository, (b"120000", b"out", blob_of(repository, os.fsencode(outside)))))
    for _ in range(2):
        assert cloned(server, target, "--branch", "main") == 0
    assert (target / "out").readlink() == outside
    assert (outside / "precious").exists()


def test_a_jobs_volume_is_emptied_first(server, repository, target):
    """An init container that runs again starts from an empty volume; `lost+found` stays."""
    commit(repository, {"a": b"1"})
    (target / "old").mkdir(parents=True)
    (target / "old/file").touch()
    (target / "lost+found").mkdir()
    assert cloned(server, target, "--branch", "main") == 0
    assert {entry.name for entry in target.iterdir()} == {"a", "lost+found"}


def test_exit_codes(server, repository, target, capsys, tmp_path):
    """Configuration 2, credentials 3, not found 4, network 5, each with one line that says why."""
    commit(repository, {"a": b"1"})
    assert cloned(server, target, "--branch", "nope") == 4
    assert cloned(server, target, "--branch", "main", name="nope.git") == 4
    assert cloned(server, target, "--commit", "abc") == 4
    assert cloned(server, target, "--commit", "1" * 40) == 4
    assert run(["-k", "GitRepo", "-s", "x", "-b", "m", "-d", str(target)], {}) == 2
    assert run(["-k", "GitRepo", "-s", "x", "-b", "m", "-d", str(target)], {SOURCE_VARIABLE: "{"}) == 2
    other = SourceDescription(url="file:///etc").to_json()
    assert run(["-k", "GitRepo", "-s", "x", "-b", "m", "-d", str(target)], {SOURCE_VARIABLE: other}) == 2
    (tmp_path / "file").touch()
    assert cloned(server, tmp_path / "file", "--branch", "main") == 2
    assert cloned(server, target, "--branch", "main", auth_type="basic", secret_dir=str(tmp_path / "none")) == 3
    server.authorization = "Bearer right"
    assert cloned(server, target, "--branch", "main") == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert all(line.startswith("gitrepo-cloner: ") for line in said.err.splitlines())
    for arguments in ([], ["-k", "Pod"], ["-k", "GitRepo", "-s", "x", "-b", "m", "-t", "v", "-d", "d"]):
        with pytest.raises(SystemExit) as left:
            run(arguments, {})
        assert left.value.code == 2


def test_mounted_credentials(server, repository, target, tmp_path, capsys):
    """User name, password and token are read from the mounted files, and appear nowhere in what is said or left."""
    commit(repository, {"a": b"1"})
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, value in {"username": "me", "password": "word\n", "token": "Bearer abc123\n"}.items():
        (secrets / name).write_text(value)
    server.authorization = "Basic bWU6d29yZA=="
    assert cloned(server, target, "-b", "main", "-p", auth_type="basic", secret_dir=str(secrets)) == 0
    assert "word" not in (target / ".git/config").read_text()
    server.authorization = "Bearer abc123"
    assert cloned(server, target, "-b", "main", "--debug", auth_type="token", secret_dir=str(secrets)) == 0
    said = capsys.readouterr()
    assert "abc123" not in said.out + said.err
    assert "bWU6" not in said.out + said.err


def test_the_cloner_waits_for_files_that_are_mounted_later(server, repository, target, tmp_path, capsys):
    """A copy of a Secret may be made after the pod has started; without a time to wait a missing file is an end."""
    folder = tmp_path / "later"
    folder.mkdir()
    commit(repository, {"a": b"1"})
    described = SourceDescription(url=server.url("app.git"), auth_type="token", secret_dir=str(folder)).to_json()
    arguments = ["--kind", "ClusterGitRepo", "--source", "app", "-b", "main", "--destination", str(target)]
    writer = threading.Timer(1.0, (folder / "token").write_text, ["Bearer x"])
    writer.start()
    assert run(arguments, {SOURCE_VARIABLE: described, WAIT_VARIABLE: "30"}) == 0
    writer.join()
    (folder / "token").unlink()
    assert run(arguments, {SOURCE_VARIABLE: described, WAIT_VARIABLE: "1"}) == 3
    assert run(arguments, {SOURCE_VARIABLE: described, WAIT_VARIABLE: "x" * 9}) == 3
    assert "cannot be read" in capsys.readouterr().err


def test_private_ca(tmp_path, target, capsys):
    """The mounted CA is trusted; without it the certificate is refused with exit code 5; `noVerifySsl` takes any."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    certificates = Certificates(secrets)
    (secrets / "ca.crt").write_text(certificates.ca_pem)
    with GitServer(tmp_path / "served", tls=certificates.server_context()) as server:
        commit(new_repository(server.root / "app.git"), {"a": b"1"})
        assert cloned(server, target, "-b", "main", has_ca=True, secret_dir=str(secrets)) == 0
        assert cloned(server, target, "-b", "main") == 5
        assert cloned(server, target, "-b", "main", no_verify_ssl=True) == 0
    assert "certificate" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_through_the_proxy_of_the_source(server, repository, target, tmp_path, capsys, kind):
    """The described proxy is used with the mounted login; a wrong one is exit code 3, which names the field."""
    commit(repository, {"a": b"1"})
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "proxy-username").write_text("me\n")
    async with proxy(kind, ("me", "sesame")) as (url, seen):
        assert await asyncio.to_thread(cloned, server, target, "-b", "main", proxy_url=url) == 3
        for word, code in (("sesamo", 3), ("sesame", 0)):
            (secrets / "proxy-password").write_text(word)
            described = {"proxy_url": url, "proxy_auth": True, "secret_dir": str(secrets)}
            assert await asyncio.to_thread(cloned, server, target, "-b", "main", "--debug", **described) == code
    assert (target / "a").read_bytes() == b"1"
    assert seen
    said = capsys.readouterr()
    assert "check the Secret that spec.proxy.secretRef names" in said.err
    assert "name a Secret with them in spec.proxy.secretRef" in said.err
    assert "sesam" not in said.out + said.err


def wish(server, target, *, owned=False):
    return CloneRequest(
        repository=Repository(url=server.url("app.git")),
        reference=Reference("branch", "main"),
        destination=target,
        preserve_git_folder=False,
        owned=owned,
    )


async def test_failures_of_the_network_are_tried_again(server, repository, target):
    """A server that fails twice and then answers is cloned from; one that goes on failing is given up."""
    commit(repository, {"a": b"1"})
    server.replies["/app.git/info/refs"] = (502, {}, b"")
    said = []
    remote = http_remote(Limits())

    def warn(text):
        said.append(text)
        if len(said) == 2:
            server.replies.clear()

    try:
        done = await clone(remote, wish(server, target), warn=warn, debug=said.append, pauses_s=(0.0, 0.0))
        assert done.files == 1
        assert sum("trying again" in text for text in said) == 2
        server.replies["/app.git/info/refs"] = (502, {}, b"")
        server.replies["/app.git/git-upload-pack"] = (502, {}, b"")
        with pytest.raises(GitUnreachable):
            await clone(remote, wish(server, target, owned=True), warn=said.append, debug=said.append, pauses_s=(0.0,))
    finally:
        await remote.close()


async def test_by_hand_only_our_own_leftovers_are_removed(server, repository, target):
    """Without a description a folder with files is refused, one with a half clone of ours is cleaned."""
    from git_events_runner.errors import ConfigError, GitReferenceNotFound

    target.mkdir()
    (target / "mine").touch()
    remote = http_remote(Limits())
    try:
        with pytest.raises(ConfigError, match="not empty"):
            await clone(remote, wish(server, target), warn=print, debug=print)
        (target / ".git").mkdir()
        (target / ".git/gitrepo-cloner-unfinished").touch()
        with pytest.raises(GitReferenceNotFound):
            await clone(remote, wish(server, target), warn=print, debug=print)
        assert not (target / "mine").exists()
    finally:
        await remote.close()


def test_the_program_starts_without_heavy_modules():
    """Arguments are parsed without dulwich, the Kubernetes client or pydantic in memory."""
    heavy = "('dulwich', 'kubernetes_asyncio', 'pydantic')"
    code = f"import sys, git_events_runner.cloner.__main__; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
