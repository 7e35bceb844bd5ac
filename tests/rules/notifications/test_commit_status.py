"""Requests of each forge: path, headers, body, lengths and states, as its API description has them."""

import base64
import json

import pytest

from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.notifiers import CommitStatus
from git_events_runner.rules.notifications.commit_status import commit_status_request, serves
from tests.rules.notifications.samples import COMMIT, run

STATES = ("Queued", "Started", "Succeeded", "Failed", "Cancelled")
BASIC = "Basic " + base64.b64encode(b":token-1").decode()
TABLE = {
    "github": (
        "git@github.com:owner/app.git",
        None,
        f"https://api.github.com/repos/owner/app/statuses/{COMMIT}",
        {"Authorization": "Bearer token-1"},
        ("pending", "pending", "success", "failure", "error"),
        {"state", "context", "description", "target_url"},
    ),
    "gitlab": (
        "https://gitlab.com/group/sub/app",
        None,
        f"https://gitlab.com/api/v4/projects/group%2Fsub%2Fapp/statuses/{COMMIT}",
        {"PRIVATE-TOKEN": "token-1"},
        ("pending", "running", "success", "failed", "canceled"),
        {"state", "name", "description", "target_url"},
    ),
    "gitea": (
        "ssh://git@git.example:2222/owner/app.git",
        "https://git.example",
        f"https://git.example/api/v1/repos/owner/app/statuses/{COMMIT}",
        {"Authorization": "token token-1"},
        ("pending", "pending", "success", "failure", "error"),
        {"state", "context", "description", "target_url"},
    ),
    "bitbucket": (
        "git@bitbucket.org:work/app.git",
        None,
        f"https://api.bitbucket.org/2.0/repositories/work/app/commit/{COMMIT}/statuses/build",
        {"Authorization": "Bearer token-1"},
        ("INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"),
        {"state", "key", "name", "description", "url"},
    ),
    "bitbucket-server": (
        "https://bits.example/scm/PRO/app.git",
        "https://bits.example",
        f"https://bits.example/rest/api/latest/projects/PRO/repos/app/commits/{COMMIT}/builds",
        {"Authorization": "Bearer token-1"},
        ("INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "CANCELLED"),
        {"state", "key", "name", "description", "url"},
    ),
    "azure": (
        "https://dev.azure.com/org/project/_git/app",
        None,
        f"https://dev.azure.com/org/project/_apis/git/repositories/app/commits/{COMMIT}/statuses?api-version=7.1",
        {"Authorization": BASIC},
        ("pending", "pending", "succeeded", "failed", "error"),
        {"state", "context", "description", "targetUrl"},
    ),
}


def request_of(forge, state="Succeeded", *, secret=b"token-1\n", target_url=None, context=None, **fields):
    uri, api_url, *_ = TABLE[forge]
    spec = CommitStatus(forge=forge, api_url=api_url, **({"context": context} if context else {}))
    report = run(state, **({"repo_uri": uri} | fields))
    return commit_status_request(spec, report, secret=secret, target_url=target_url)


@pytest.mark.parametrize("forge", TABLE)
def test_path_headers_and_fields_are_those_of_the_forge(forge):
    """Each is as the forge's API description has it, and nothing else is sent."""
    _, _, url, headers, _, fields = TABLE[forge]
    request = request_of(forge, target_url="https://ci.example/{namespace}/{trigger}/{run}")
    assert request.url == url
    assert {name: request.headers.get(name) for name in headers} == headers
    assert request.headers["Content-Type"] == "application/json"
    body = json.loads(request.body)
    assert set(body) == fields
    assert body.get("target_url", body.get("targetUrl", body.get("url"))) == "https://ci.example/team/build/7"
    assert body["description"] == "succeeded in 1 min 1 s"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("forge", TABLE)
def test_each_state_is_one_that_the_forge_knows(forge, state):
    """The whole mapping as a table."""
    assert json.loads(request_of(forge, state).body)["state"] == TABLE[forge][4][STATES.index(state)]


@pytest.mark.parametrize("forge", TABLE)
def test_lengths_are_those_that_the_forge_accepts(forge):
    """Description and key are cut; different long contexts stay different."""
    why = "container " + "x" * 300
    keys = set()
    for trigger in ("{namespace}" + "y" * 240, "{namespace}" + "y" * 240 + "z"):
        body = json.loads(request_of(forge, "Failed", why=why, context=trigger).body)
        assert len(body["description"]) == 140
        key = body.get("key") or body.get("name") or body["context"]
        keys.add(json.dumps(key))
        limit = {"bitbucket": 40}.get(forge, 255)
        assert all(len(part) <= limit for part in (key.values() if isinstance(key, dict) else [key]))
    assert len(keys) == 2


@pytest.mark.parametrize("forge", ["github", "bitbucket", "bitbucket-server"])
def test_without_a_target_the_link_is_the_page_of_the_commit(forge):
    """Bitbucket requires an address."""
    body = json.loads(request_of(forge).body)
    assert COMMIT in body.get("target_url", body.get("url"))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("git@ssh.dev.azure.com:v3/org/project/app", "org/project/_apis/git/repositories/app"),
        ("https://dev.azure.com/org/_git/app", "org/app/_apis/git/repositories/app"),
        ("https://dev.azure.com/org/my%20project/_git/app", "org/my%20project/_apis/git/repositories/app"),
    ],
)
def test_every_form_of_an_azure_address_is_the_same_repository(uri, path):
    """Over SSH, with a project of the repository's name, with a blank."""
    assert f"https://dev.azure.com/{path}/commits/" in request_of("azure", repo_uri=uri).url


@pytest.mark.parametrize(
    ("forge", "uri"),
    [
        ("github", "https://github.com/only"),
        ("github", "https://github.com/a/b/c"),
        ("gitlab", "https://gitlab.com/app"),
        ("bitbucket-server", "https://bits.example/app"),
        ("azure", "https://dev.azure.com/org/app"),
    ],
)
def test_a_path_that_is_no_repository_of_the_forge_is_an_error(forge, uri):
    """It names the path."""
    with pytest.raises(ValueError, match="is no"):
        request_of(forge, repo_uri=uri)


@pytest.mark.parametrize("secret", [b"", b"\n", b"Bearer token", b"tok\x00en", "tökén".encode()])
def test_a_token_that_no_forge_accepts_is_an_error_without_its_value(secret):
    """Empty, with its scheme, with control characters."""
    with pytest.raises(SecretUnusable) as error:
        request_of("github", secret=secret)
    assert "tok" not in str(error.value).replace("token", "")


def test_a_user_and_password_are_sent_as_basic():
    """Bitbucket's app passwords."""
    login = request_of("bitbucket", secret=b"me:word").headers["Authorization"]
    assert login == "Basic " + base64.b64encode(b"me:word").decode()


@pytest.mark.parametrize(
    ("forge", "api_url", "uri", "expected"),
    [
        ("github", None, "git@github.com:a/b", True),
        ("github", None, "ssh://git@ssh.github.com:443/a/b", True),
        ("github", None, "https://evil.example/a/b", False),
        ("github", None, "https://api.github.com/a/b", False),
        ("github", "https://ghe.example", "https://ghe.example/a/b", True),
        ("github", "https://ghe.example", "https://github.com/a/b", False),
        ("bitbucket", None, "https://bitbucket.org/a/b", True),
        ("gitea", "https://git.example:3000/api/v1", "git@git.example:a/b", True),
    ],
)
def test_only_repositories_of_the_forge_get_a_status(forge, api_url, uri, expected):
    """The token of one forge is used for no repository that is elsewhere."""
    assert serves(CommitStatus(forge=forge, api_url=api_url), uri) is expected


def test_other_hosts_of_the_forge_can_be_named():
    """SSH under a name of its own."""
    spec = CommitStatus(forge="gitea", api_url="https://git.example", hosts=("SSH.git.example",))
    assert serves(spec, "git@ssh.git.example:a/b")
    assert not serves(spec, "https://git.example/a/b")
