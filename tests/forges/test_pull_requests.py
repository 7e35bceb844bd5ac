"""What each forge's delivery of a pull request reports: number, head, fork or not, open or closed."""

import json

import pytest

from git_events_runner.rules.forges import IgnoredEvent, PullRequest, Push, read
from tests.forges import deliveries as d
from tests.forges.pulls import CLOSED, OPENED, PUSHED, pull

FORGES = sorted(OPENED)
HEADS = {
    "github": "refs/pull/7/head",
    "gitea": "refs/pull/7/head",
    "gitlab": "refs/merge-requests/7/head",
    "bitbucket": "refs/heads/feature/x",
    "bitbucket-server": "refs/pull-requests/7/from",
    "azure": "refs/heads/feature/x",
}


def said(forge, delivery):
    """What a delivery reports."""
    headers, body = delivery
    named = {name.lower(): [value.encode()] for name, value in headers.items()}
    return read(forge.removesuffix("-server"), named, body)


@pytest.mark.parametrize("forge", FORGES)
def test_an_opened_one_names_number_head_target_and_time(forge):
    """All that a run needs is in the payload; Bitbucket Cloud has no complete id of the commit."""
    found = said(forge, pull(forge, OPENED[forge]))
    assert isinstance(found, PullRequest)
    assert (found.number, found.head, found.target, found.fork, found.closed) == (7, HEADS[forge], "main", False, False)
    assert found.commit == (None if forge == "bitbucket" else d.AFTER)
    assert found.at == "2026-05-06T07:08:09Z"
    assert any(url.startswith("https://forge.example.com/team/app") for url in found.repositories)


@pytest.mark.parametrize("forge", FORGES)
def test_a_pushed_one_is_open_and_a_closed_one_is_closed(forge):
    """Every way to end one counts as closing."""
    assert not said(forge, pull(forge, PUSHED[forge])).closed
    assert said(forge, pull(forge, CLOSED[forge])).closed


@pytest.mark.parametrize("fork", [True, None])
@pytest.mark.parametrize("forge", FORGES)
def test_one_of_another_repository_is_a_fork_and_so_is_one_of_an_unknown_one(forge, fork):
    """A deleted fork has no repository in the payload: what cannot be compared is a fork."""
    assert said(forge, pull(forge, OPENED[forge], fork=fork)).fork


@pytest.mark.parametrize("forge", ["gitea", "github"])
@pytest.mark.parametrize("action", ["opened", "synchronized", "closed"])
def test_one_that_was_pushed_without_a_branch_is_a_fork(forge, action):
    """Gitea's AGit flow needs no write access, and names the repository itself as that of the head."""
    headers, body = pull(forge, action)
    payload = json.loads(body)
    payload["pull_request"]["head"] |= {"label": "", "ref": "refs/pull/7/head", "repo_id": 1}
    assert said(forge, (headers, d.encoded(payload))).fork


def test_one_whose_branch_was_deleted_with_it_is_no_fork():
    """Gitea then shows the reference of the pull request, with the label of the branch."""
    headers, body = pull("gitea", "closed")
    payload = json.loads(body)
    payload["pull_request"]["head"] |= {"label": "feature/x", "ref": "refs/pull/7/head"}
    assert not said("gitea", (headers, d.encoded(payload))).fork


@pytest.mark.parametrize("forge", FORGES)
def test_other_actions_have_no_effect(forge):
    """A label, a review or a changed title runs nothing."""
    other = {"bitbucket": "pullrequest:approved", "bitbucket-server": "pr:comment:added"}.get(forge, "labeled")
    found = said(forge, pull(forge, other))
    assert isinstance(found, IgnoredEvent)
    assert "moves no reference" in found.reason


def test_an_update_of_gitlab_without_a_push_has_no_effect():
    """Only an update with `oldrev` moved the code."""
    headers, body = pull("gitlab", "update")
    payload = json.loads(body)
    del payload["object_attributes"]["oldrev"]
    assert isinstance(said("gitlab", (headers, d.encoded(payload))), IgnoredEvent)


@pytest.mark.parametrize("number", [0, -1, 2**31, True, "7", None, 1.5])
@pytest.mark.parametrize("forge", FORGES)
def test_what_is_no_number_names_no_pull_request(forge, number):
    """Nothing is checked for it."""
    found = said(forge, pull(forge, OPENED[forge], number=number))
    assert isinstance(found, IgnoredEvent)
    assert "names no pull request" in found.reason


@pytest.mark.parametrize("forge", FORGES)
def test_a_large_one_is_read_as_a_small_one(forge):
    """Of a body beyond 256 KiB only the wanted fields are read: the same ones."""
    headers, body = pull(forge, OPENED[forge], fork=True)
    large = d.encoded({**json.loads(body), "filler": ["x" * 1000] * 400})
    assert said(forge, (headers, large)) == said(forge, (headers, body))


def test_an_attempt_to_merge_that_fails_leaves_it_open():
    """Azure sends `git.pullrequest.merged` for each attempt: the status decides."""
    headers, body = pull("azure", "completed")
    payload = json.loads(body)
    payload["resource"]["status"] = "active"
    assert not said("azure", (headers, d.encoded(payload))).closed


def test_gitea_as_github_and_a_push_as_before():
    """A Gitea that is configured as `github` is read as well, and a push stays a push."""
    headers, body = pull("gitea", "synchronized")
    found = said("github", (headers | {"X-GitHub-Event": "pull_request_sync"}, body))
    assert isinstance(found, PullRequest)
    assert isinstance(said("gitea", d.gitea()), Push)
