"""How much a clone may write: limits that a small pack cannot get around, and that are never passed."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.cloner.budget import Budget, CloneLimits, CloneTooLarge
from git_events_runner.errors import ConfigError
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.cloner.cloning import blob_of, cloned, tree_of
from tests.edges.git.gitserver import commit, commit_tree

MIB = 2**20


def bomb(repository, *, megabytes):
    """A commit whose tree names one blob of zeros that often: a small pack, large files."""
    blob = blob_of(repository, b"\0" * MIB)
    commit_tree(repository, tree_of(repository, *((b"100644", b"f%04d" % n, blob) for n in range(megabytes))))


def nested(repository, *, depth, width):
    """A commit of folders alone, each level the same tree several times: width ** depth folders, depth objects."""
    below = tree_of(repository, (b"100644", b"x", blob_of(repository)))
    for _ in range(depth):
        below = tree_of(repository, *((b"40000", b"d%d" % n, below) for n in range(width)))
    commit_tree(repository, below)


def written_bytes(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_small_pack_of_large_files(server, repository, target, capsys):
    """A pack of some KiB that means a GiB ends with exit code 7 and its reason, and leaves an empty volume."""
    bomb(repository, megabytes=1024)
    assert cloned(server, target, "--branch", "main", max_bytes=8 * MIB) == 7
    assert "larger than 8388608 bytes" in capsys.readouterr().err
    assert list(target.iterdir()) == []


def test_no_byte_is_written_past_the_limit(server, repository, target):
    """The kernel would kill the cloner for one file, or the sum of all, over the limit: it ends by itself before."""
    commit(repository, {"large": b"\0" * (64 * MIB), "small": b"1"})
    source = SourceDescription(url=server.url("app.git"), max_bytes=2 * MIB)
    command = [sys.executable, "-m", "git_events_runner.cloner", "--kind", "GitRepo", "--source", "app"]
    command += ["--destination", str(target), "--branch", "main"]

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))

    done = subprocess.run(
        command, env={SOURCE_VARIABLE: source.to_json()}, preexec_fn=limited, capture_output=True, check=False
    )
    assert done.returncode == 7, done.stderr


def test_folders_count(server, repository, target, capsys):
    """A billion empty folders in ten objects end at the limit of files."""
    nested(repository, depth=9, width=10)
    assert cloned(server, target, "--branch", "main", max_files=500) == 7
    assert "more than 500 files and folders" in capsys.readouterr().err
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--preserve-git-folder",)])
def test_the_limit_is_exact(server, repository, target, tmp_path, capsys, options):
    """What fits to the byte is cloned, pack and index of a `.git` that stays included; one byte less is not enough."""
    commit(repository, {"a": b"1" * 1000, "d/b": b"2" * 5000, "d/e": b""})
    assert cloned(server, target, "--branch", "main", "--debug", *options) == 0
    out = capsys.readouterr()
    pack = int(re.search(r"received (\d+) bytes", out.err)[1])
    needed = pack + 6000
    if options:
        needed += (target / ".git" / "index").stat().st_size
        needed += sum(path.stat().st_size for path in (target / ".git" / "objects" / "pack").glob("*.idx"))
    assert cloned(server, tmp_path / "fits", "--branch", "main", *options, max_bytes=needed, max_files=4) == 0
    assert cloned(server, tmp_path / "less", "--branch", "main", *options, max_bytes=needed - 1) == 7
    assert cloned(server, tmp_path / "few", "--branch", "main", *options, max_files=3) == 7
    assert cloned(server, tmp_path / "tiny", "--branch", "main", *options, max_bytes=pack - 1) == 7
    assert list((tmp_path / "tiny").iterdir()) == []
    if not options:
        assert written_bytes(tmp_path / "fits") == 6000


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 400))
def test_a_budget_is_spent_once(sizes, limit):
    """Bytes are taken while they fit, in whole; their sum never passes the limit, and what is refused costs nothing."""
    budget, taken = Budget(CloneLimits(max_bytes=limit, max_files=1)), 0
    for size in sizes:
        try:
            budget.spend(size)
        except CloneTooLarge:
            assert taken + size > limit
        else:
            taken += size
    assert taken <= limit


def test_limits_of_a_description():
    """The controller's limits reach the cloner; without any, as from an older controller, the defaults hold."""
    described = SourceDescription(url="https://x/y", max_bytes=5, max_files=6)
    assert SourceDescription.parse(described.to_json()) == described
    assert CloneLimits.of(described) == CloneLimits(max_bytes=5, max_files=6)
    assert CloneLimits.of(SourceDescription(url="https://x/y")) == CloneLimits()
    assert CloneLimits().max_bytes == 10 * 2**30


@pytest.mark.parametrize("limits", [{"bytes": 0}, {"bytes": -1}, {"files": "9"}, {"files": True}, {"bytes": 1.5}, [1]])
def test_limits_that_are_none(limits):
    """A description with impossible limits is refused by name."""
    with pytest.raises(ConfigError, match="limits"):
        SourceDescription.parse(json.dumps({"url": "https://x/y", "limits": limits}))
