"""Clones with every option from servers that are not git: Gitea with its own LFS, and JGit."""

from __future__ import annotations

import pytest

from git_events_runner.cloner.__main__ import run
from git_events_runner.resources.changes import CHANGES_VARIABLE, PREVIOUS_VARIABLE
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE, CloneOptions
from git_events_runner.resources.description import REFERENCE_VARIABLE, SOURCE_VARIABLE, SourceDescription
from tests.edges.git.gitserver import git
from tests.servers.lfs import pointer

KEPT = "--preserve-git-folder"
pytestmark = pytest.mark.built


def git_in(target, *arguments):
    return git("-c", f"safe.directory={target}", *arguments, cwd=target)


class Job:
    """Clones as a Job of the controller does."""

    def __init__(self, folder, *, account=None):
        self.target, self.changes = folder / "target", folder / "changes"
        self._secrets = folder / "secrets"
        for made in (self.changes, self._secrets):
            made.mkdir()
        self._auth = None
        if account is not None:
            self._auth = "basic"
            (self._secrets / "username").write_text(account.name)
            (self._secrets / "password").write_text(account.password)

    def clone(self, url, head, *arguments, previous="", **options):
        source = SourceDescription(url=url, auth_type=self._auth, secret_dir=str(self._secrets))
        told = {
            SOURCE_VARIABLE: source.to_json(),
            OPTIONS_VARIABLE: CloneOptions(**options).to_json(),
            REFERENCE_VARIABLE: "branch main",
            PREVIOUS_VARIABLE: previous,
            CHANGES_VARIABLE: str(self.changes),
        }
        return run(["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(self.target), *arguments], told)


@pytest.fixture(params=["forge", "jgit_server"])
def place(request, tmp_path):
    """A repository on the server, and a Job that may read it."""
    server = request.getfixturevalue(request.param)
    if request.param == "forge":
        return server.repository(private=True), Job(tmp_path, account=server.admin)
    return server.repository(), Job(tmp_path)


def commits(made):
    """Three commits, a tag on the first one; their ids."""
    files = {"docs/guide": "g", "services/a/main": "a", "version": "0"}
    first = made.push(files)
    made.tag("v1", annotated=True)
    made.tag("light")
    return [first, *(made.push({"version": str(number)}) for number in (1, 2))]


def test_history_and_tags(place):
    """All of it, `git describe` works, and the list of changed files is git's."""
    made, job = place
    ids = commits(made)
    assert job.clone(made.url, ids[-1], KEPT, previous=ids[0], depth=0, tags=True) == 0
    assert git_in(job.target, "log", "--format=%H").split() == ids[::-1]
    assert git_in(job.target, "describe").startswith("v1-2-g")
    assert git_in(job.target, "tag", "--list").split() == ["light", "v1"]
    assert git_in(job.target, "status", "--porcelain") == ""
    assert git_in(job.target, "fsck") == ""
    assert (job.changes / "changed-files").read_bytes() == b"M\tversion\n"


def test_some_commits_and_some_files(place):
    """A shallow, sparse and partial clone is clean and has no other file."""
    made, job = place
    ids = commits(made)
    assert job.clone(made.url, ids[-1], KEPT, previous=ids[0], depth=2, blobless=True, sparse=("/docs/",)) == 0
    assert git_in(job.target, "log", "--format=%H").split() == ids[:0:-1]
    assert {path.name for path in job.target.iterdir()} == {".git", "docs"}
    assert git_in(job.target, "status", "--porcelain") == ""
    assert (job.changes / "changed-files").read_bytes() == b"M\tversion\n"


def test_a_previous_commit_that_the_server_does_not_have(place):
    """The clone succeeds, and the reason is there."""
    made, job = place
    head = commits(made)[-1]
    assert job.clone(made.url, head, previous="d" * 40) == 0
    assert (job.changes / "changed-files.absent").read_text().startswith("the git server does not give")


def test_private_submodules_of_gitea(forge, tmp_path):
    """By a relative URL, with the source's credential."""
    library, made = forge.repository(private=True), forge.repository(private=True)
    commit = library.push({"lib": "1"})
    modules = f'[submodule "x"]\n\tpath = libs/x\n\turl = ../{library.name}.git\n'
    made.push({".gitmodules": modules})
    head = link(made, "libs/x", commit)
    job = Job(tmp_path, account=forge.admin)
    assert job.clone(made.url, head, KEPT, submodules=True) == 0
    assert (job.target / "libs/x/lib").read_text() == "1"
    assert git_in(job.target, "status", "--porcelain") == ""


def test_contents_in_the_lfs_of_gitea(forge, tmp_path, capsys):
    """Those of a private repository, with the credential; one that is missing fails the clone with its path."""
    made, content = forge.repository(private=True), b"large content\0" * 100_000
    made.push({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    head = made.push({"data/large.bin": made.store_lfs(content), "small.bin": made.store_lfs(b"s")})
    job = Job(tmp_path, account=forge.admin)
    assert job.clone(made.url, head, KEPT, lfs=True) == 0
    assert (job.target / "data/large.bin").read_bytes() == content
    assert (job.target / "small.bin").read_bytes() == b"s"
    assert git_in(job.target, "status", "--porcelain") == ""
    head = made.push({"data/gone.bin": pointer(b"never uploaded").decode()})
    assert job.clone(made.url, head, lfs=True) == 4
    assert "file data/gone.bin in Git LFS" in capsys.readouterr().err
    assert list(job.target.iterdir()) == []


def link(made, path, commit):
    """Push a commit that links another repository's commit at a path."""
    head = "commit refs/heads/main\ncommitter t <t@x> now\ndata 1\nm\nfrom refs/heads/main^0\n"
    stream = f"{head}M 160000 {commit} {path}\n"
    made.git("fast-import", "--quiet", "--date-format=now", stdin=stream)
    made.push_refs("+refs/heads/main")
    return made.head()
