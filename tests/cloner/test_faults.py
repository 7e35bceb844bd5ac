"""The cloner when something fails: full volumes, hostile commits, SSH; what it says and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from git_events_runner.cloner.__main__ import run
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.cloner.cloning import blob_of, cloned, tree_of
from tests.edges.git.gitserver import commit, commit_tree, git, new_repository
from tests.servers import sshd as servers


@contextmanager
def volume(path, options):
    """A small file system of its own; skipped by name where none may be mounted."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("options", ["size=256k", "size=4m,nr_inodes=30"])
def test_a_full_volume(server, repository, target, capsys, options):
    """No space for bytes, or for files: exit code 6, the reason, an empty volume; later it works again."""
    large = commit(repository, {f"d{number}/f": os.urandom(10_000) for number in range(40)})
    commit(repository, {"a": b"1"}, parent=large)
    with volume(target, options):
        assert cloned(server, target, "--commit", large) == 6
        assert "no space left on the volume" in capsys.readouterr().err
        assert list(target.iterdir()) == []
        assert cloned(server, target, "--branch", "main") == 0
        assert [each.name for each in target.iterdir()] == ["a"]


def test_a_read_only_volume(server, repository, target, capsys):
    """A volume that cannot be written to is named before anything is asked of the git server."""
    commit(repository, {"a": b"1"})
    with volume(target, "ro"):
        assert cloned(server, target, "--branch", "main") == 6
        assert "ead-only file system" in capsys.readouterr().err


def test_nothing_is_left_of_a_failed_clone(server, repository, target):
    """After a refused path, a missing reference and a broken server the destination is empty."""
    bad = tree_of(
        repository, (b"100644", b"a", blob_of(repository)), (b"100644", b".git.", blob_of(repository, b"evil"))
    )
    commit_tree(repository, bad)
    assert cloned(server, target, "--branch", "main") == 6
    assert list(target.iterdir()) == []
    assert cloned(server, target, "--branch", "nope") == 4
    assert list(target.iterdir()) == []
    server.replies["/app.git/git-upload-pack"] = (404, {}, b"")
    assert cloned(server, target, "--branch", "main") == 4
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("mode", [b"104755", b"102755", b"101644", b"100777", b"100600"])
def test_only_two_modes_are_given(server, repository, target, mode):
    """Setuid, setgid, sticky and odd modes become 0664 or 0775."""
    commit_tree(repository, tree_of(repository, (mode, b"f", blob_of(repository))))
    assert cloned(server, target, "--branch", "main") == 0
    assert (target / "f").stat().st_mode & 0o7777 in {0o664, 0o775}


@pytest.mark.parametrize("mode", [b"20644", b"60644", b"10644", b"140644", b"0"])
def test_devices_and_sockets_are_refused(server, repository, target, mode):
    """What is neither file, link, folder nor submodule is not made."""
    commit_tree(repository, tree_of(repository, (mode, b"f", blob_of(repository))))
    assert cloned(server, target, "--branch", "main") == 6
    assert list(target.iterdir()) == []


def test_wrong_kinds_links_and_depth(server, repository, target, capsys):
    """A file that is a folder, a folder that is a file, links to nowhere and folders without end are refused."""
    blob, below = blob_of(repository), tree_of(repository, (b"100644", b"x", blob_of(repository)))
    deep = below
    for _ in range(300):
        deep = tree_of(repository, (b"40000", b"d", deep))
    for entries in (
        ((b"100644", b"f", below),),
        ((b"40000", b"d", blob),),
        ((b"120000", b"l", blob_of(repository, b"a\0b")),),
        ((b"120000", b"l", blob_of(repository, b"")),),
        ((b"120000", b"l", blob_of(repository, b"x" * 5000)),),
        ((b"40000", b"d", deep),),
    ):
        commit_tree(repository, tree_of(repository, *entries))
        assert cloned(server, target, "--branch", "main") == 6
        assert list(target.iterdir()) == []
    assert "nested more than" in capsys.readouterr().err


def test_case_and_unicode_twins(server, repository, target):
    """Names that differ by case or by Unicode form are two files where the file system tells them apart."""
    blob = blob_of(repository)
    names = sorted([b"A", b"a", "\u00e9".encode(), "e\u0301".encode(), b"\xff"])
    commit_tree(repository, tree_of(repository, *((b"100644", name, blob) for name in names)))
    assert cloned(server, target, "--branch", "main") == 0
    assert sorted(os.fsencode(each.name) for each in target.iterdir()) == names


def test_lfs_pointers_are_named_once(server, repository, target, capsys):
    """Pointers of Git LFS stay what they are, and one line says so; a large file that begins like one is none."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    commit(repository, {f"p{number}": pointer for number in range(7)} | {"big": pointer + b"x" * 2000})
    assert cloned(server, target, "--branch", "main") == 0
    assert (target / "p0").read_bytes() == pointer
    said = [line for line in capsys.readouterr().err.splitlines() if "LFS" in line]
    assert len(said) == 1
    assert "p0, p1, p2, p3, p4, … (7)" in said[0]


def test_a_repository_with_sha256_ids(server, target):
    """One with sha256 ids is cloned too, and kept as a clean repository."""
    repository = new_repository(server.root / "new.git", "--object-format=sha256")
    made = commit(repository, {"a": b"1", "d/b": b"2"})
    assert cloned(server, target, "--branch", "main", "-p", name="new.git") == 0
    options = ("-c", f"safe.directory={target}")
    assert git(*options, "status", "--porcelain", cwd=target) == ""
    assert git(*options, "log", "--format=%H", cwd=target) == made
    assert git(*options, "fsck", cwd=target) == ""


@pytest.fixture
def sshd(tmp_path):
    try:
        made = servers.Sshd(tmp_path / "sshd", types=("ed25519", "rsa"))
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    yield made
    made.close()


def test_over_ssh(sshd, repository, target, tmp_path, capsys):
    """The mounted key opens, the described or mounted host keys decide, and an encrypted key needs its passphrase."""
    commit(repository, {"a": b"1", "b": os.urandom(3_000_000)})
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    key = secrets / "ssh-privatekey"
    key.write_text(sshd.key.read_text())

    def ran(*lines, insecure=False):
        source = SourceDescription(
            url=sshd.url(repository),
            auth_type="ssh",
            secret_dir=str(secrets),
            host_keys=lines,
            any_host_key=insecure,
        )
        return run(["-k", "GitRepo", "-s", "x", "-b", "main", "-d", str(target)], {SOURCE_VARIABLE: source.to_json()})

    assert ran(sshd.line()) == 0
    assert (target / "b").stat().st_size == 3_000_000
    assert ran(sshd.line("rsa")) == 0
    wrong = f"{sshd.place} {servers.public(sshd.key)}"
    assert ran() == 5
    assert ran(wrong) == 5
    assert ran(insecure=True) == 0
    (secrets / "known_hosts").write_text(wrong)
    assert ran(sshd.line()) == 5
    assert ran(insecure=True) == 5
    (secrets / "known_hosts").write_text(sshd.line() + "\n")
    assert ran(wrong) == 0
    (secrets / "known_hosts").write_text("nonsense")
    assert ran() == 3
    (secrets / "known_hosts").unlink()
    encrypted = servers.keygen(tmp_path / "encrypted", passphrase="open sesame")
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(servers.public(encrypted) + "\n")
    key.write_text(encrypted.read_text())
    assert ran(sshd.line()) == 3
    (secrets / "passphrase").write_text("open sesame\n")
    assert ran(sshd.line()) == 0
    key.write_text(servers.keygen(tmp_path / "stranger").read_text())
    (secrets / "passphrase").unlink()
    assert ran(sshd.line()) == 3
    key.unlink()
    assert ran(sshd.line()) == 3
    said = capsys.readouterr()
    assert "PRIVATE KEY" not in said.out + said.err
    assert "sesame" not in said.out + said.err


def test_no_environment_of_ssh_is_used(sshd, repository, target, tmp_path):
    """Neither an agent, nor keys, nor configuration files of the user take part."""
    commit(repository, {"a": b"1"})
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    for name in ("id_ed25519", "identity"):
        (home / ".ssh" / name).write_text(sshd.key.read_text())
        (home / ".ssh" / name).chmod(0o600)
    (home / ".ssh/config").write_text("Host *\n  StrictHostKeyChecking no\n  ProxyCommand touch %d/ran\n")
    (home / ".ssh/known_hosts").write_text(sshd.line() + "\n")

    def done(*lines):
        source = {"url": sshd.url(repository), "ssh": {"knownHosts": lines}}
        return subprocess.run(
            [sys.executable, "-m", "git_events_runner.cloner", "-k", "GitRepo", "-s", "x", "-b", "main", "-d", target],
            env={"HOME": str(home), SOURCE_VARIABLE: json.dumps(source), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )

    assert "is not known" in done().stderr
    asked = done(sshd.line())
    assert asked.returncode == 3
    assert "authConfig of type ssh" in asked.stderr
    assert not (home / "ran").exists()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/html", b"<html>login</html>"), ("application/x-git-upload-pack-advertisement", b"zzzz")],
)
def test_what_fails_in_the_same_way_again_is_not_tried_again(server, repository, target, capsys, content_type, body):
    """An answer that is no git costs one attempt and no pause."""
    commit(repository, {"a": b"1"})
    server.replies["/app.git/info/refs"] = (200, {"Content-Type": content_type}, body)
    assert cloned(server, target, "--branch", "main") == 6
    assert len(server.exchanges) == 1
    assert "trying again" not in capsys.readouterr().err
