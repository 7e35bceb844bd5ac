"""Trees out of packs, against git's own listing, and against packs made to hurt."""

from __future__ import annotations

import random
import subprocess
import time
import tracemalloc

import pytest

from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.packs import read_tree
from git_events_runner.edges.git.request import TreeEntry
from git_events_runner.errors import GitError, GitProtocolError, GitReferenceNotFound, GitTooLarge
from tests.edges.git.bombs import (
    backward_deltas,
    commit_of,
    entry,
    long_names,
    made_pack,
    many_objects,
    multiplying_delta,
    multiplying_tree,
    object_id,
    one_folder,
    tiny_steps,
)
from tests.edges.git.gitserver import GIT_ENVIRONMENT, commit, git, new_repository


def pack_of(repository, revision, *options):
    command = ["git", "pack-objects", "--stdout", "--revs", "-q", *options]
    return subprocess.run(
        command, cwd=repository, input=revision.encode(), capture_output=True, env=GIT_ENVIRONMENT, check=True
    ).stdout


def listing(repository, revision):
    lines = subprocess.run(
        ["git", "ls-tree", "-r", "-z", revision], cwd=repository, capture_output=True, env=GIT_ENVIRONMENT, check=True
    ).stdout.split(b"\0")
    heads = ((line.split(b"\t", 1)) for line in lines if line)
    return [
        TreeEntry(path.decode("utf-8", "surrogateescape"), int(head.split()[0], 8), head.split()[2].decode())
        for head, path in heads
    ]


@pytest.mark.parametrize("form", ["sha1", "sha256"])
@pytest.mark.parametrize("options", [(), ("--filter=blob:none",), ("--delta-base-offset",)])
def test_the_tree_is_what_git_lists(tmp_path, form, options):
    """Paths, modes and blobs equal `git ls-tree -r`, whole and blobless, with both kinds of deltas and of ids."""
    repository = new_repository(tmp_path / "r", f"--object-format={form}")
    first = commit(repository, {f"d{i % 9}/é{i}/f{i}.txt": b"%d\n" % i * 50 for i in range(600)})
    files = {f"d{i % 9}/é{i}/f{i}.txt": b"%d\n" % (i * (1 + (i == 77))) * 50 for i in range(600)}
    second = commit(repository, files, parent=first)
    pack = pack_of(repository, second, "--window=50", "--depth=50", *options)
    for each in (first, second):
        found = read_tree(pack, each, form, Limits())
        assert list(found) == list(found) == listing(repository, each)
        assert len(found) == 600


def test_links_submodules_and_odd_names_are_entries(tmp_path):
    """Links, submodules, executables and names that are no UTF-8 stand in the list as they are."""
    repository = new_repository(tmp_path / "r")
    blob = git("hash-object", "-w", "--stdin", cwd=repository, stdin=b"x")
    lines = b"".join(
        (
            b"120000 blob %s\tlink\0" % blob.encode(),
            b"160000 commit %s\tsub\0" % (b"1" * 40),
            b"100755 blob %s\tprogram\0" % blob.encode(),
            b"100644 blob %s\t\xff\xfe\0" % blob.encode(),
        )
    )
    tree = git("mktree", "-z", "--missing", cwd=repository, stdin=lines)
    made = git("commit-tree", tree, "-m", "m", cwd=repository)
    got = list(read_tree(pack_of(repository, made), made, "sha1", Limits()))
    assert got == listing(repository, made)
    assert {e.mode for e in got} == {0o120000, 0o160000, 0o100755, 0o100644}


def test_a_bomb_costs_its_cap_only():
    """A blob that inflates without end stops at the cap, and its content is not held."""
    bomb = entry(3, bytes(64 * 2**20))
    with pytest.raises(GitTooLarge):
        read_tree(made_pack(bomb, bomb), "1" * 40, "sha1", Limits(inflated_bytes=100 * 2**20))


def test_an_object_larger_than_it_says_is_refused():
    """The declared size bounds what is inflated."""
    with pytest.raises(GitProtocolError, match="whose size differs"):
        read_tree(made_pack(entry(2, bytes(2**20), size=10)), "1" * 40, "sha1", Limits())


def test_a_tree_that_multiplies_is_refused():
    """Folders nested so that one small pack names billions of files end at the cap of entries."""
    pack, commit_id = multiplying_tree()
    with pytest.raises(GitTooLarge):
        read_tree(pack, commit_id, "sha1", Limits(tree_entries=10_000))


def test_a_delta_that_multiplies_is_refused():
    """A chain of deltas, each copying its base many times over, ends at the cap of held bytes."""
    with pytest.raises(GitError):
        read_tree(multiplying_delta(), "1" * 40, "sha1", Limits())


@pytest.mark.parametrize("make", [long_names, one_folder, many_objects])
def test_small_things_in_great_numbers_are_refused(make):
    """Long paths, a folder of millions and objects of nine bytes each end at their cap, before memory does."""
    made = make()
    pack, commit_id = made if isinstance(made, tuple) else (made, "1" * 40)
    limits = Limits(tree_entries=50_000)
    tracemalloc.start()
    try:
        with pytest.raises(GitTooLarge):
            read_tree(pack, commit_id, "sha1", limits)
        # The tree of one folder itself is 62 MiB.
        assert tracemalloc.get_traced_memory()[1] < (160 if make is one_folder else 32) * 2**20
    finally:
        tracemalloc.stop()


def test_a_delta_of_tiny_steps_is_cut():
    """The steps of deltas count: a small pack does not take a core for long."""
    pack, limits = tiny_steps(2**20), Limits(tree_bytes=2**22)
    started = time.process_time()
    with pytest.raises(GitTooLarge):
        read_tree(pack, "1" * 40, "sha1", limits)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("count", [3, 40_000])
def test_deltas_may_come_before_their_bases(count):
    """A chain of deltas by id is followed from its end in one pass, however long it is."""
    pack, last = backward_deltas(count)
    tree = b"40000 d\0" + bytes.fromhex(last)
    made = commit_of(tree)
    body = pack[12:-20] + entry(2, tree) + entry(1, made)
    whole = b"PACK" + (2).to_bytes(4) + (count + 3).to_bytes(4) + body
    started = time.process_time()
    found = list(read_tree(whole + bytes(20), object_id(b"commit", made).hex(), "sha1", Limits()))
    assert time.process_time() - started < 10
    assert found == [TreeEntry("d/f", 0o100644, (count - 1).to_bytes(20).hex())]


@pytest.mark.parametrize("files", [1, 1000])
@pytest.mark.parametrize("broken", [b"x", b"100644 f\0short", b"9 f\0" + bytes(20), b"100644 a/b\0" + bytes(20)])
def test_a_broken_tree_is_refused(files, broken):
    """Bytes that are no entry are an error at the end and in the middle of a tree, small or large."""
    good = b"".join(b"100644 f%04d\0" % number + bytes(20) for number in range(files))
    for tree in (good + broken, good + broken + good):
        made = commit_of(tree)
        with pytest.raises(GitProtocolError, match="broken tree"):
            read_tree(made_pack(entry(2, tree), entry(1, made)), object_id(b"commit", made).hex(), "sha1", Limits())


def test_a_tag_is_not_a_commit():
    """An id that names another kind of object is no commit."""
    tree = b"100644 f\0" + bytes(20)
    with pytest.raises(GitReferenceNotFound):
        read_tree(made_pack(entry(2, tree)), object_id(b"tree", tree).hex(), "sha1", Limits())


def test_broken_packs_only_raise_our_errors(tmp_path):
    """A pack cut anywhere, or with any byte changed, gives its true tree or a GitError."""
    repository = new_repository(tmp_path / "r")
    made = commit(repository, {f"d{i}/f": b"%d" % i for i in range(40)})
    pack, right = pack_of(repository, made, "--delta-base-offset"), listing(repository, made)
    dice = random.Random(7)
    for _ in range(1500):
        broken = bytearray(pack)
        if dice.random() < 0.3:
            del broken[dice.randrange(len(broken)) :]
        else:
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            got = list(read_tree(broken, made, "sha1", Limits(inflated_bytes=2**24, tree_bytes=2**22)))
        except GitError:
            continue
        assert got == right
