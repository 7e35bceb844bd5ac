"""Requests that set commit statuses, against what the seven forges publish of their APIs."""

import json

import pytest

from git_events_runner.resources.notifiers import CommitStatus
from git_events_runner.rules.notifications.commit_status import commit_status_request
from git_events_runner.rules.notifications.request import Request
from tests.forges.status_apis import FOLDER, operation_of
from tests.rules.notifications.samples import COMMIT, run
from tests.rules.notifications.test_commit_status import STATES, TABLE

FORGES = {
    forge: (TABLE[kind][0], TABLE[kind][1], kind)
    for forge, kind in {**{kind: kind for kind in TABLE}, "forgejo": "gitea"}.items()
}
LONG = "x" * 300


def request_of(forge, state="Succeeded", *, context="{namespace}/{trigger}", target_url=None, **fields):
    uri, api_url, kind = FORGES[forge]
    spec = CommitStatus(forge=kind, api_url=api_url, context=context)
    report = run(state, **({"repo_uri": uri} | fields))
    return commit_status_request(spec, report, secret=b"token-1", target_url=target_url)


def test_every_forge_has_a_description():
    """Seven forges by six kinds of API: a forge that is added needs one."""
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(FORGES)
    assert len(FORGES) == 7


@pytest.mark.parametrize("target", [None, "https://ci.example/{namespace}/{run}", f"https://ci.example/{LONG * 6}"])
@pytest.mark.parametrize("context", ["{namespace}/{trigger}", "ci/", "/ci", "y" * 255])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("forge", FORGES)
def test_each_request_is_one_that_the_forge_describes(forge, state, context, target):
    """Path, parameters, headers, fields, lengths and states, with short and long values."""
    for why in (None, LONG):
        request = request_of(forge, state, context=context, target_url=target, why=why)
        assert operation_of(forge).problems(request) == []


@pytest.mark.parametrize(
    ("forge", "values"),
    [
        ("github", {"owner": "owner", "repo": "app", "sha": COMMIT}),
        ("gitlab", {"id": "group/sub/app", "sha": COMMIT}),
        ("forgejo", {"owner": "owner", "repo": "app", "sha": COMMIT}),
        ("bitbucket", {"workspace": "work", "repo_slug": "app", "commit": COMMIT}),
        ("bitbucket-server", {"projectKey": "PRO", "repositorySlug": "app", "commitId": COMMIT}),
        ("azure", {"organization": "org", "project": "project", "repositoryId": "app", "commitId": COMMIT}),
    ],
)
def test_the_names_in_the_path_are_those_of_the_repository(forge, values):
    """Each where the description has it."""
    assert operation_of(forge).values(request_of(forge).url) == values


@pytest.mark.parametrize("forge", FORGES)
def test_a_link_that_the_forge_would_refuse_is_the_page_of_the_commit(forge):
    """GitLab takes 255 characters, Bitbucket Data Center 450: a status without its own link is better than none."""
    link = f"https://ci.example/{LONG * 2}"
    body = json.loads(request_of(forge, target_url=link).body)
    sent = body.get("target_url") or body.get("targetUrl") or body.get("url")
    assert (sent == link) is (forge not in {"gitlab", "bitbucket-server"})
    assert sent == link or sent.endswith(COMMIT)


@pytest.mark.parametrize("forge", FORGES)
def test_a_request_that_is_not_as_described_is_noticed(forge):
    """A wrong path, no token, an unknown state, an unknown field, a field that is missing."""
    good, operation = request_of(forge), operation_of(forge)
    body = json.loads(good.body)
    wrong = [
        Request(url=good.url.replace(COMMIT, ""), body=good.body, headers=good.headers),
        Request(url=good.url + ("&" if "?" in good.url else "?") + "x=1", body=good.body, headers=good.headers),
        Request(url=good.url, body=good.body, headers={"Content-Type": "application/json"}),
        Request(url=good.url, body=json.dumps(body | {"state": "done"}).encode(), headers=good.headers),
        Request(url=good.url, body=json.dumps(body | {"message": "x"}).encode(), headers=good.headers),
    ]
    assert all(operation.problems(request) for request in wrong)
