"""A `.git` that stays is a clone that people can work in: pull, push, describe, and a new clone by the same names."""

from __future__ import annotations

import pytest

from git_events_runner.cloner.__main__ import run
from git_events_runner.resources.description import REFERENCE_VARIABLE, SOURCE_VARIABLE, SourceDescription
from tests.cloner.cloning import cloned
from tests.edges.git.gitserver import commit, git, new_repository

KEPT = "--preserve-git-folder"


def git_in(target, *arguments):
    return git("-c", f"safe.directory={target}", *arguments, cwd=target)


def in_a_job(server, target, made, found_by):
    arguments = ["-k", "GitRepo", "-s", "app", "--commit", made, "-d", str(target), KEPT]
    described = SourceDescription(url=server.url("app.git")).to_json()
    return run(arguments, {SOURCE_VARIABLE: described, REFERENCE_VARIABLE: found_by})


@pytest.mark.parametrize("how", ["name", "full name", "job"])
@pytest.mark.parametrize("branch", ["main", 'feature/a"b#c'])
def test_a_branch_is_one_to_work_on(server, repository, target, how, branch):
    """Status, upstream, `origin/HEAD`, commit, push and pull work as in a clone by git."""
    git("config", "http.receivepack", "true", cwd=repository)
    first = commit(repository, {"a": b"1"}, branch=branch)
    made = commit(repository, {"a": b"2"}, branch=branch, parent=first)
    if how == "job":
        assert in_a_job(server, target, made, f"branch {branch}") == 0
    else:
        assert cloned(server, target, "--branch", branch if how == "name" else f"refs/heads/{branch}", KEPT) == 0
    assert git_in(target, "branch", "--show-current") == branch
    assert git_in(target, "rev-parse", "--abbrev-ref", "@{u}") == f"origin/{branch}"
    assert git_in(target, "rev-parse", "@{u}", "origin/HEAD", "HEAD").split() == [made] * 3
    assert git_in(target, "symbolic-ref", "refs/remotes/origin/HEAD") == f"refs/remotes/origin/{branch}"
    assert "up to date" in git_in(target, "status")
    (target / "b").write_text("mine")
    git_in(target, "add", "b")
    git_in(target, "commit", "-qm", "mine")
    git_in(target, "-c", "push.default=simple", "push", "-q")
    mine = git_in(target, "rev-parse", "HEAD")
    assert git("rev-parse", f"refs/heads/{branch}", cwd=repository) == mine
    theirs = git("commit-tree", f"{mine}^{{tree}}", "-p", mine, "-m", "theirs", cwd=repository)
    git("update-ref", f"refs/heads/{branch}", theirs, cwd=repository)
    git_in(target, "pull", "-q", "--ff-only")
    assert git_in(target, "rev-parse", "HEAD", "@{u}").split() == [theirs] * 2
    assert git_in(target, "fsck") == ""


@pytest.mark.parametrize("how", ["name", "full name", "job"])
@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_an_annotated_tag_stays_one(server, target, how, form):
    """`git describe` names it, with its message; a light tag stays light, a tag of a tag leads to the commit."""
    repository = new_repository(server.root / "app.git", f"--object-format={form}")
    made = commit(repository, {"a": b"1"})
    git("tag", "-a", "-m", "what is new", "v1", made, cwd=repository)
    git("tag", "-a", "-m", "twice", "twice", "v1", cwd=repository)
    git("tag", "light", made, cwd=repository)
    for tag, kind in (("v1", "tag"), ("twice", "tag"), ("light", "commit")):
        if how == "job":
            assert in_a_job(server, target, made, f"tag {tag}") == 0
        else:
            assert cloned(server, target, "--tag", tag if how == "name" else f"refs/tags/{tag}", KEPT) == 0
        assert git_in(target, "cat-file", "-t", f"refs/tags/{tag}") == kind
        assert git_in(target, "describe", "--tags", "--exact-match") == tag
        assert git_in(target, "rev-parse", "HEAD", f"{tag}^{{commit}}").split() == [made] * 2
        assert git_in(target, "branch", "--show-current") == ""
        assert git_in(target, "status", "--porcelain") == ""
        assert git_in(target, "fsck") == ""
        if tag == "v1":
            assert git_in(target, "describe") == "v1"
            assert git_in(target, "tag", "-l", "--format=%(contents:subject)") == "what is new"


def test_what_a_job_was_found_by_may_be_gone(server, repository, target):
    """A tag that moved or was deleted since, and a variable that is nonsense, do not hinder the clone."""
    made = commit(repository, {"a": b"1"})
    later = commit(repository, {"a": b"2"}, parent=made)
    git("tag", "-a", "-m", "m", "v1", later, cwd=repository)
    for found_by in ("tag v1", "tag none", "branch", "x y", "branch none"):
        assert in_a_job(server, target, made, found_by) == 0
        assert git_in(target, "rev-parse", "HEAD") == made
        assert git_in(target, "fsck") == ""


def test_other_references_are_no_branches(server, repository, target):
    """A full name elsewhere is checked out as its commit."""
    made = commit(repository, {"a": b"1"})
    git("update-ref", "refs/pull/7/head", made, cwd=repository)
    assert cloned(server, target, "--branch", "refs/pull/7/head", KEPT) == 0
    assert git_in(target, "rev-parse", "HEAD") == made
    assert git_in(target, "branch", "--show-current") == ""
