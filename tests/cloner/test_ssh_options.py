"""`actionJob.clone` of a source over SSH."""

from __future__ import annotations

import pytest

from git_events_runner.cloner.__main__ import run
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE, CloneOptions
from git_events_runner.resources.description import REFERENCE_VARIABLE, SOURCE_VARIABLE, SourceDescription
from tests.cloner.test_submodules import git_in, superproject
from tests.edges.git.gitserver import commit, git, new_repository
from tests.servers import sshd as servers
from tests.servers.lfs import ATTRIBUTES, pointer


@pytest.fixture
def sshd(tmp_path):
    try:
        made = servers.Sshd(tmp_path / "sshd", types=("ed25519",))
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    yield made
    made.close()


@pytest.fixture
def cloned(sshd, repository, target, tmp_path):
    """Clones the repository over SSH with the key of a Secret."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "ssh-privatekey").write_text(sshd.key.read_text())

    def ran(head, *arguments, **options):
        source = SourceDescription(
            url=sshd.url(repository), auth_type="ssh", secret_dir=str(secrets), host_keys=(sshd.line(),)
        )
        told = {
            SOURCE_VARIABLE: source.to_json(),
            OPTIONS_VARIABLE: CloneOptions(**options).to_json(),
            REFERENCE_VARIABLE: "branch main",
        }
        return run(["-k", "GitRepo", "-s", "x", "-c", head, "-d", str(target), *arguments], told)

    return ran


def test_history_tags_and_a_filter(cloned, repository, target):
    """As over HTTP: all commits, their tags, and only the contents that are written."""
    first = commit(repository, {"a": b"1", "b/c": b"1"})
    git("tag", "-a", "-m", "m", "v1", first, cwd=repository)
    second = commit(repository, {"a": b"2", "b/c": b"2"}, parent=first)
    assert cloned(second, "-p", depth=0, tags=True, blobless=True, sparse=("/b/",)) == 0
    assert git_in(target, "log", "--format=%H").split() == [second, first]
    assert git_in(target, "describe").startswith("v1-1-g")
    assert git_in(target, "status", "--porcelain") == ""


def test_submodules(cloned, server, sshd, repository, target, capsys):
    """Those of the same server get the key; one over HTTP on the same host goes without; another port gets no key."""
    library = new_repository(server.root / "libs/one.git")
    made = commit(library, {"lib": b"1"})
    modules = {"own": "../libs/one.git", "http": server.url("libs/one.git")}
    head = superproject(repository, {"own": made, "http": made}, modules=modules)
    assert cloned(head, submodules=True) == 0
    assert (target / "own/lib").read_bytes() == (target / "http/lib").read_bytes() == b"1"
    other = sshd.url(library).replace(f":{sshd.port}/", f":{sshd.port + 1}/")
    head = superproject(repository, {"x": made}, modules={"x": other})
    assert cloned(head, submodules=True) == 2
    assert "only for its own host, scheme and port" in capsys.readouterr().err


def test_git_lfs_needs_http(cloned, repository, target, capsys):
    """The message names the option, before anything is asked for."""
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": pointer(b"x")})
    assert cloned(head, lfs=True) == 2
    assert "spec.actionJob.clone.lfs needs a source with an http or https URL" in capsys.readouterr().err
