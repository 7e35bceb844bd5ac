"""`actionJob.clone`: depth, filter and sparse patterns give what a clone by git with the same options gives."""

from __future__ import annotations

import pytest

from git_events_runner.cloner.__main__ import run
from git_events_runner.cloner.tags import packed_refs
from git_events_runner.edges.git.pktline import packet
from git_events_runner.errors import ConfigError
from git_events_runner.resources.changes import CHANGES_VARIABLE, PREVIOUS_VARIABLE
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE, CloneOptions
from git_events_runner.resources.description import REFERENCE_VARIABLE, SOURCE_VARIABLE, SourceDescription
from tests.edges.git.gitserver import commit, git, new_repository

KEPT = "--preserve-git-folder"
FILES = {
    "README": b"r",
    "services/a/main": b"a1",
    "services/b/main": b"b1",
    "services/b/.gitattributes": b"*.txt text eol=crlf\n",
    "services/b/x.txt": b"line\n",
    "docs/guide": b"g",
}


def git_in(target, *arguments):
    return git("-c", f"safe.directory={target}", *arguments, cwd=target)


def cloned(server, target, head, options, *arguments, name="app.git", **told):
    """Clone as a Job with these options does."""
    source = SourceDescription(url=server.url(name)).to_json()
    environment = {SOURCE_VARIABLE: source, OPTIONS_VARIABLE: options.to_json(), REFERENCE_VARIABLE: "branch main"}
    return run(["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(target), *arguments], environment | told)


def history(repository, length=6):
    """A line of commits, each with another content of one file; newest last."""
    made = []
    for number in range(length):
        parent = made[-1] if made else None
        made.append(commit(repository, FILES | {"version": b"%d" % number}, parent=parent))
    return made


def files_in(target):
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file() and ".git" not in path.parts}


def contents(target):
    """How many contents of files the repository holds without asking its origin."""
    found = git_in(target, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
    return found.split().count("blob")


@pytest.mark.parametrize("version", ["v2", "v0"])
@pytest.mark.parametrize("depth", [1, 3, 6, 9, 0])
def test_depth_is_the_number_of_commits(server, repository, target, depth, version):
    """As many commits as asked for, or all; the repository is shallow only if some are not there."""
    server.v2 = version == "v2"
    made = history(repository)
    assert cloned(server, target, made[-1], CloneOptions(depth=depth), KEPT) == 0
    there = made[-depth:] if depth else made
    assert git_in(target, "log", "--format=%H").split() == there[::-1]
    assert git_in(target, "rev-parse", "--is-shallow-repository") == ("true" if len(there) < len(made) else "false")
    assert git_in(target, "status", "--porcelain") == ""
    assert git_in(target, "fsck") == ""
    assert git_in(target, "diff", "--name-only", there[0], "HEAD") == ("version" if len(there) > 1 else "")


def test_branches_that_were_joined(server, repository, target):
    """A history with merges is cut where the depth ends on each side, and is whole without a depth."""
    root = history(repository, 2)[-1]
    tree = git("rev-parse", f"{root}^{{tree}}", cwd=repository)
    left, right = root, root
    for number in range(3):
        left = git("commit-tree", tree, "-p", left, "-m", f"l{number}", cwd=repository)
        right = git("commit-tree", tree, "-p", right, "-m", f"r{number}", cwd=repository)
    joined = git("commit-tree", tree, "-p", left, "-p", right, "-m", "joined", cwd=repository)
    git("update-ref", "refs/heads/main", joined, cwd=repository)
    for depth in (1, 2, 3, 0):
        assert cloned(server, target, joined, CloneOptions(depth=depth), KEPT) == 0
        expected = target.parent / f"git-{depth}"
        options = [f"--depth={depth}"] if depth else []
        git("clone", "-q", *options, server.url("app.git"), str(expected), cwd=target.parent)
        logs = [set(git_in(folder, "log", "--format=%H").split()) for folder in (target, expected)]
        assert logs[0] == logs[1]
        assert git_in(target, "fsck") == ""


def test_the_whole_history_can_go_on(server, repository, target):
    """The next commit of the branch is pulled into it."""
    made = history(repository)
    assert cloned(server, target, made[-1], CloneOptions(depth=0), KEPT) == 0
    newest = commit(repository, FILES, parent=made[-1])
    git_in(target, "pull", "-q", "--ff-only")
    assert git_in(target, "rev-parse", "HEAD") == newest


@pytest.mark.parametrize("form", ["sha1", "sha256"])
@pytest.mark.parametrize("kept", [False, True])
def test_sparse_writes_what_the_patterns_select(server, target, kept, form, capsys):
    """Other files and their folders are not there; git does not report them as deleted, and brings them on request."""
    repository = new_repository(server.root / "app.git", f"--object-format={form}")
    made = history(repository)
    options = CloneOptions(sparse=("/services/b/", "READ*"))
    assert cloned(server, target, made[-1], options, *([KEPT] if kept else [])) == 0
    wanted = {"README", "services/b/main", "services/b/.gitattributes", "services/b/x.txt"}
    assert files_in(target) == wanted
    assert (target / "services/b/x.txt").read_bytes() == b"line\r\n"
    assert not (target / "docs").exists()
    assert not (target / "services/a").exists()
    assert "4 files" in capsys.readouterr().out
    if kept:
        assert git_in(target, "status", "--porcelain") == ""
        assert git_in(target, "ls-files", "-t").splitlines() == [
            f"{'H' if name in wanted else 'S'} {name}" for name in sorted([*FILES, "version"])
        ]
        git_in(target, "sparse-checkout", "disable")
        assert files_in(target) >= {"docs/guide", "services/a/main"}
        assert git_in(target, "status", "--porcelain") == ""


def test_sparse_patterns_that_select_nothing(server, repository, target, capsys):
    """The clone is empty, and the log says why."""
    head = history(repository)[-1]
    assert cloned(server, target, head, CloneOptions(sparse=("nothing",))) == 0
    assert files_in(target) == set()
    assert "spec.actionJob.clone.sparse select no file" in capsys.readouterr().err


def test_sparse_patterns_that_are_too_many(server, repository, target, capsys):
    """The message names the field, and the exit code is that of a wrong configuration."""
    head = history(repository)[-1]
    assert cloned(server, target, head, CloneOptions(sparse=("x",) * 1001)) == 2
    assert "spec.actionJob.clone.sparse: has 1001 patterns" in capsys.readouterr().err


@pytest.mark.parametrize("depth", [1, 0])
def test_a_filter_fetches_only_contents_that_are_written(server, repository, target, depth):
    """`.git` is a partial clone: clean, with the complete history, older contents come when they are asked for."""
    made = history(repository)
    options = CloneOptions(depth=depth, blobless=True, sparse=("/docs/",))
    assert cloned(server, target, made[-1], options, KEPT) == 0
    assert files_in(target) == {"docs/guide"}
    assert contents(target) == 2  # the file, and the file of attributes, which a checkout always reads
    assert git_in(target, "status", "--porcelain") == ""
    assert git_in(target, "fsck") == ""
    if not depth:
        assert git_in(target, "log", "--format=%H").split() == made[::-1]
        assert git_in(target, "show", f"{made[1]}:version") == "1"


def test_a_filter_without_a_git_folder(server, repository, target):
    """The files are the same as without one."""
    made = history(repository)
    assert cloned(server, target, made[-1], CloneOptions(blobless=True)) == 0
    assert files_in(target) == {*FILES, "version"}
    assert (target / "version").read_bytes() == b"5"
    assert (target / "services/b/x.txt").read_bytes() == b"line\r\n"


def test_more_contents_than_one_request_has(server, repository, target, monkeypatch):
    """They come in several packs, of which each is part of the repository afterwards."""
    monkeypatch.setattr("git_events_runner.cloner.fetching._BATCH", 2)
    made = history(repository)
    assert cloned(server, target, made[-1], CloneOptions(blobless=True), KEPT) == 0
    assert git_in(target, "status", "--porcelain") == ""
    assert git_in(target, "fsck") == ""
    assert len(list((target / ".git/objects/pack").glob("*.pack"))) > 3


def test_a_server_without_filters_sends_everything_once(server, repository, target):
    """The clone is complete, and nothing is asked for a second time."""
    git("config", "uploadpack.allowFilter", "false", cwd=repository)
    made = history(repository)
    assert cloned(server, target, made[-1], CloneOptions(blobless=True, depth=0), KEPT) == 0
    assert git_in(target, "status", "--porcelain") == ""
    assert len(list((target / ".git/objects/pack").glob("*.pack"))) == 1


@pytest.mark.parametrize("version", ["v2", "v0"])
def test_a_server_that_refuses_the_filter_sends_everything(server, repository, target, tmp_path, version):
    """It offers filters, but not this one: clone and list of changed files are the same as without a filter."""
    server.v2 = version == "v2"
    git("config", "uploadpackfilter.blob:none.allow", "false", cwd=repository)
    made = history(repository)
    (tmp_path / "changes").mkdir()
    told = {PREVIOUS_VARIABLE: made[-2], CHANGES_VARIABLE: str(tmp_path / "changes")}
    assert cloned(server, target, made[-1], CloneOptions(blobless=True), KEPT, **told) == 0
    assert git_in(target, "status", "--porcelain") == ""
    assert git_in(target, "fsck") == ""
    assert (target / "version").read_bytes() == b"5"
    assert (tmp_path / "changes/changed-files").read_bytes() == b"M\tversion\n"


def test_a_server_that_gives_no_single_contents_sends_everything(server, repository, target, capsys):
    """It gives commits of references only: the commit is fetched a second time, with all contents."""
    made = history(repository)

    def refused(_, body):
        if b"want " not in body or made[-1].encode() in body:
            return None
        kind = {"Content-Type": "application/x-git-upload-pack-result"}
        return 200, kind, packet(b"ERR upload-pack: not our ref " + b"1" * 40)

    server.strict = refused
    assert cloned(server, target, made[-1], CloneOptions(blobless=True), KEPT, "--debug") == 0
    assert git_in(target, "status", "--porcelain") == ""
    assert git_in(target, "fsck") == ""
    assert "the server does not give single contents of files" in capsys.readouterr().err


def test_changed_files_in_a_clone_with_history(server, repository, target, tmp_path):
    """The previous commit is not fetched a second time; in a sparse clone the list has all files."""
    made = history(repository)
    (tmp_path / "changes").mkdir()
    told = {PREVIOUS_VARIABLE: made[0], CHANGES_VARIABLE: str(tmp_path / "changes")}
    for options, more in ((CloneOptions(depth=0), [KEPT]), (CloneOptions(sparse=("/docs/",), blobless=True), [])):
        before = len(server.seen)
        assert cloned(server, target, made[-1], options, *more, **told) == 0
        assert (tmp_path / "changes/changed-files").read_bytes() == b"M\tversion\n"
        wanted = sum(made[0].encode() in body for _, body in server.seen[before:])
        assert wanted == (0 if options.depth == 0 else 1)


@pytest.mark.parametrize("version", ["v2", "v0"])
@pytest.mark.parametrize("form", ["sha1", "sha256"])
@pytest.mark.parametrize("depth", [0, 2])
def test_tags_of_the_history_are_there(server, target, depth, form, version):
    """`git describe` says the same as in the repository; tags of other commits are not there."""
    server.v2 = version == "v2"
    repository = new_repository(server.root / "app.git", f"--object-format={form}")
    made = history(repository)
    git("tag", "-a", "-m", "what is new", "v1", made[1], cwd=repository)
    git("tag", "-a", "-m", "twice", "twice", "v1", cwd=repository)
    git("tag", "light/näme", made[-2], cwd=repository)
    other = commit(repository, {"x": b"other"}, branch="other")
    git("tag", "-a", "-m", "elsewhere", "elsewhere", other, cwd=repository)
    git("tag", "-a", "-m", "a tree", "tree", f"{made[0]}^{{tree}}", cwd=repository)
    assert cloned(server, target, made[-1], CloneOptions(depth=depth, tags=True), KEPT) == 0
    found = git_in(target, "for-each-ref", "--format=%(objecttype) %(objectname) %(refname)", "refs/tags").splitlines()
    there = git("for-each-ref", "--format=%(objecttype) %(objectname) %(refname)", "refs/tags", cwd=repository)
    wanted = ("light/näme",) if depth else ("light/näme", "tree", "twice", "v1")
    assert found == [
        line for line in there.splitlines() if line.endswith(tuple(f"refs/tags/{name}" for name in wanted))
    ]
    assert git_in(target, "describe", "--tags") == git("describe", "--tags", made[-1], cwd=repository)
    if not depth:
        assert git_in(target, "describe") == git("describe", made[-1], cwd=repository)
        assert git_in(target, "describe").startswith(("v1-4-g", "twice-4-g"))
    assert git_in(target, "fsck") == ""
    assert git_in(target, "status", "--porcelain") == ""


def test_tags_that_git_would_not_take_are_left_out(target):
    """A server's name never becomes a line of the file that means something else."""
    pack = {bytes.fromhex("a" * 40)}
    tags = {
        f"refs/tags/{name}": ("a" * 40, None) for name in ("v1", "b ad", "x\n" + "b" * 40 + " refs/heads/main", "a..b")
    }
    assert packed_refs(tags, pack, lambda _: None).decode().splitlines()[1:] == [f"{'a' * 40} refs/tags/v1"]


@pytest.mark.parametrize("text", ["x", "[]", '{"depth":-1}', '{"depth":true}', '{"sparse":[1]}', '{"later":1}'])
def test_options_that_cannot_be_read_are_refused(text):
    """An option of a later version is not passed over in silence."""
    with pytest.raises(ConfigError, match="GIT_EVENTS_RUNNER_CLONE"):
        CloneOptions.parse(text)


def test_options_read_back_as_they_were_written():
    """Defaults take no variable at all."""
    options = CloneOptions(depth=0, blobless=True, sparse=("a", "!b"))
    assert CloneOptions.parse(options.to_json()) == options
    assert CloneOptions.parse(CloneOptions().to_json()) == CloneOptions()
