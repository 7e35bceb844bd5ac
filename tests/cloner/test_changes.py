"""The list of changed files is git's own, and is not there, with the reason, where it cannot be complete."""

from __future__ import annotations

import os
import subprocess

import pytest

from git_events_runner.cloner import changes
from git_events_runner.cloner.__main__ import run
from git_events_runner.cloner.commits import tree_of
from git_events_runner.cloner.differences import differences, quoted
from git_events_runner.cloner.pack import Pack, PackLimits
from git_events_runner.errors import GitTooLarge
from git_events_runner.resources.changes import CHANGES_VARIABLE, PREVIOUS_VARIABLE
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.cloner.cloning import blob_of
from tests.cloner.cloning import tree_of as new_tree
from tests.cloner.randomtrees import pairs
from tests.edges.git.gitserver import GIT_ENVIRONMENT, commit, commit_tree, git, new_repository

# A thousand and more are compared by hand: CHANGED_FILES_PAIRS=1000.
PAIRS = int(os.environ.get("CHANGED_FILES_PAIRS", "120"))
SEED = 20261130


def git_diff(repository, old, new, *options):
    command = ["git", "diff", "--name-status", "--no-renames", *options, old, new]
    return subprocess.run(command, cwd=repository, capture_output=True, check=True, env=GIT_ENVIRONMENT).stdout


def packed(repository):
    """All of a repository as one pack."""
    git("repack", "-adq", cwd=repository)
    [path] = (repository / "objects/pack").glob("*.pack")
    return path


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "changes"
    made.mkdir()
    return made


def listed(server, target, folder, previous, head, *options, name="app.git", **description):
    """Clone the head as a Job does; the names in the folder afterwards."""
    source = SourceDescription(url=server.url(name), **description)
    arguments = ["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(target), *options]
    told = {SOURCE_VARIABLE: source.to_json(), PREVIOUS_VARIABLE: previous, CHANGES_VARIABLE: str(folder)}
    assert run(arguments, told) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reason(found):
    assert list(found) == ["changed-files.absent"]
    return found["changed-files.absent"].decode().strip()


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_differences_are_those_of_git(tmp_path, form):
    """Random pairs of trees with links, submodules, programs and odd names, byte for byte in both forms."""
    repository = new_repository(tmp_path / "app.git", f"--object-format={form}")
    made = list(pairs(repository, SEED, PAIRS if form == "sha1" else PAIRS // 10)) if form == "sha1" else []
    if form == "sha256":
        first = commit(repository, {"a": b"1", "d/b": b"2"})
        made = [(first, commit(repository, {"a": b"2", "d/c": b"2"}, parent=first))]
    with packed(repository).open("rb") as file:
        pack = Pack(file.fileno(), form, PackLimits())
        some = 0
        for old, new in made:
            trees = tree_of(pack, bytes.fromhex(old)), tree_of(pack, bytes.fromhex(new))
            found = list(differences(pack, trees[0], pack, trees[1], most=10_000))
            some += bool(found)
            lines = b"".join(b"%s\t%s\n" % (status, quoted(path)) for status, path in found)
            assert lines == git_diff(repository, old, new), (old, new)
            parts = b"".join(b"%s\0%s\0" % each for each in found)
            assert parts == git_diff(repository, old, new, "-z"), (old, new)
    assert some > len(made) // 2


@pytest.mark.parametrize("kept", [False, True])
def test_a_clone_lists_what_changed_beside_the_tree(server, repository, target, folder, kept):
    """Both files are what git prints; nothing of it is in the working directory, nor in a `.git` that stays."""
    for old, new in pairs(repository, SEED + 1, 4):
        found = listed(server, target, folder, old, new, *(["-p"] if kept else []))
        assert found == {
            "changed-files": git_diff(repository, old, new),
            "changed-files.nul": git_diff(repository, old, new, "-z"),
        }
        if kept:
            assert git("-c", f"safe.directory={target}", "status", "--porcelain", cwd=target) == ""


@pytest.mark.parametrize("way", ["v0", "no filter"])
def test_servers_that_cannot_leave_contents_out(server, repository, target, folder, way):
    """The list is the same where the previous commit comes with all contents."""
    if way == "v0":
        server.v2 = False
    git("config", "uploadpack.allowFilter", "false", cwd=repository)
    old = commit(repository, {"a": b"1", "same": b"s"})
    new = commit(repository, {"a": b"2", "same": b"s"}, parent=old)
    assert listed(server, target, folder, old, new)["changed-files"] == b"M\ta\n"


def test_the_same_commit_again_changed_nothing(server, repository, target, folder):
    """A run without a change has an empty list, for which no server is asked."""
    head = commit(repository, {"a": b"1"})
    assert listed(server, target, folder, head, head) == {"changed-files": b"", "changed-files.nul": b""}
    assert sum(b"want " in body for _, body in server.seen) == 2  # the kind, or existence, of the commit, and the clone


def test_a_tag_that_an_older_version_recorded_leads_to_its_commit(server, repository, target, folder):
    """v0.4 recorded the object of an annotated tag."""
    old = commit(repository, {"a": b"1"})
    git("tag", "-a", "-m", "m", "v1", old, cwd=repository)
    tag = git("rev-parse", "v1", cwd=repository)
    new = commit(repository, {"b": b"1"}, parent=old)
    assert listed(server, target, folder, tag, new)["changed-files"] == b"D\ta\nA\tb\n"


def test_a_previous_commit_that_is_not_there(server, repository, target, folder, capsys):
    """After a forced push and a collection the clone succeeds, and the reason names the commit."""
    head = commit(repository, {"a": b"1"})
    lost = "d" * 40
    assert (
        reason(listed(server, target, folder, lost, head)) == f"the git server does not give the previous commit {lost}"
    )
    assert (
        f"changed files are not listed: the git server does not give the previous commit {lost}"
        in capsys.readouterr().err
    )


def test_an_older_list_does_not_stay(server, repository, target, folder):
    """An init container that runs again replaces what it wrote before, in either direction."""
    old = commit(repository, {"a": b"1"})
    new = commit(repository, {"a": b"2"}, parent=old)
    assert set(listed(server, target, folder, old, new)) == {"changed-files", "changed-files.nul"}
    assert reason(listed(server, target, folder, "none: because", new)) == "because"
    assert set(listed(server, target, folder, old, new)) == {"changed-files", "changed-files.nul"}


def test_without_a_previous_commit_the_reason_is_there(server, repository, target, folder, capsys):
    """It is the controller's; a first run warns of nothing."""
    head = commit(repository, {"a": b"1"})
    found = listed(server, target, folder, "none: no previous commit is recorded", head)
    assert reason(found) == "no previous commit is recorded"
    assert reason(listed(server, target, folder, "", head)) == "no previous commit is recorded"
    assert capsys.readouterr().err == ""


def test_a_list_that_is_too_long_is_absent(server, repository, target, folder, monkeypatch):
    """Half a list would be believed."""
    monkeypatch.setattr(changes, "_MOST_BYTES", 10)
    old = commit(repository, {"a": b"1", "b": b"1", "c": b"1"})
    new = commit(repository, {"a": b"2", "b": b"2", "c": b"2"}, parent=old)
    assert "the list has more than 10 bytes" in reason(listed(server, target, folder, old, new))


def test_a_previous_commit_larger_than_the_limits(server, repository, target, folder):
    """The clone keeps its room, and what the comparison took is given back."""
    git("config", "uploadpack.allowFilter", "false", cwd=repository)
    old = commit(repository, {"a": os.urandom(200_000)})
    new = commit(repository, {"a": b"2"}, parent=old)
    found = listed(server, target, folder, old, new, max_bytes=100_000)
    assert "larger than 100000 bytes" in reason(found)


def test_a_bomb_of_folders_ends(tmp_path):
    """Folders that hold the same folder many times are walked up to the limit only."""
    repository = new_repository(tmp_path / "app.git")
    tree = new_tree(repository, (b"100644", b"f", blob_of(repository)))
    for _ in range(12):
        tree = new_tree(repository, *((b"40000", b"%02d" % number, tree) for number in range(10)))
    old = commit(repository, {"a": b"1"})
    new = commit_tree(repository, tree, parent=old)
    with packed(repository).open("rb") as file:
        pack = Pack(file.fileno(), "sha1", PackLimits())
        trees = tree_of(pack, bytes.fromhex(old)), tree_of(pack, bytes.fromhex(new))
        with pytest.raises(GitTooLarge, match="more than 5000 files"):
            list(differences(pack, trees[0], pack, trees[1], most=5000))


def test_a_folder_that_cannot_be_written_does_not_fail_the_clone(server, repository, target, tmp_path, capsys):
    """The worker finds neither a list nor a reason, the log says why."""
    head = commit(repository, {"a": b"1"})
    (tmp_path / "file").touch()
    source = SourceDescription(url=server.url("app.git")).to_json()
    arguments = ["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(target)]
    told = {SOURCE_VARIABLE: source, PREVIOUS_VARIABLE: head, CHANGES_VARIABLE: str(tmp_path / "file")}
    assert run(arguments, told) == 0
    assert "changed files are not listed: cannot write to" in capsys.readouterr().err


def test_a_clone_by_hand_lists_nothing():
    """Without the controller's variables there is no folder for it."""
    assert changes.ChangesRequest.of({}) is None
