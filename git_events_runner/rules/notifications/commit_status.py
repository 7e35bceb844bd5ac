"""Requests that set the status of a commit, one builder for each forge.

https://docs.github.com/rest/commits/statuses, https://docs.gitlab.com/api/commits/#set-commit-pipeline-status,
https://docs.gitea.com/api/ (repoCreateStatus), https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/,
https://developer.atlassian.com/server/bitbucket/rest/ (builds), and
https://learn.microsoft.com/rest/api/azure/devops/git/statuses/create.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from git_events_runner.resources.notifiers import API_URLS, URL_CHARS, CommitStatus
from git_events_runner.rules.forge_links import commit_page, repository_place

from .report import CANCELLED, FAILED, QUEUED, STARTED, SUCCEEDED, RunReport
from .request import Request
from .tokens import token_of

DESCRIPTION_CHARS = 140
_CONTEXT_CHARS = 255
_STATES: dict[str, dict[str, str]] = {
    "github": {QUEUED: "pending", STARTED: "pending", SUCCEEDED: "success", FAILED: "failure", CANCELLED: "error"},
    "gitlab": {QUEUED: "pending", STARTED: "running", SUCCEEDED: "success", FAILED: "failed", CANCELLED: "canceled"},
    "gitea": {QUEUED: "pending", STARTED: "pending", SUCCEEDED: "success", FAILED: "failure", CANCELLED: "error"},
    "bitbucket": {
        QUEUED: "INPROGRESS",
        STARTED: "INPROGRESS",
        SUCCEEDED: "SUCCESSFUL",
        FAILED: "FAILED",
        CANCELLED: "STOPPED",
    },
    "bitbucket-server": {
        QUEUED: "INPROGRESS",
        STARTED: "INPROGRESS",
        SUCCEEDED: "SUCCESSFUL",
        FAILED: "FAILED",
        CANCELLED: "CANCELLED",
    },
    "azure": {QUEUED: "pending", STARTED: "pending", SUCCEEDED: "succeeded", FAILED: "failed", CANCELLED: "error"},
}
_KEY_CHARS = {"bitbucket": 40, "bitbucket-server": 255}
_LINK_CHARS = {"gitlab": 255, "bitbucket-server": 450}
# The usual path of the API, where the address in the spec has none.
_PATHS = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1", "bitbucket": "/2.0"}
# Where the API of a public service is, and where its repositories are.
_SERVICES = {"api.github.com": "github.com", "api.bitbucket.org": "bitbucket.org"}
_AZURE_VERSION = "api-version=7.1"
_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    """A status in the words of its forge."""

    base: str
    path: str
    commit: str
    state: str
    context: str
    description: str
    url: str | None
    name: str


def api_url(spec: CommitStatus) -> str:
    """The address of the forge's API, without a slash at its end.

    >>> api_url(CommitStatus(forge="gitea", api_url="https://git.example"))
    'https://git.example/api/v1'
    """
    if spec.api_url is None:
        return API_URLS[spec.forge]
    given = spec.api_url.rstrip("/")
    parts = urlsplit(given)
    public = (parts.hostname or "") in _SERVICES
    path = parts.path or ("" if public and spec.forge == "github" else _PATHS.get(spec.forge, ""))
    return f"{parts.scheme}://{parts.netloc}{path}"


def serves(spec: CommitStatus, repo_uri: str) -> bool:
    """Whether a repository is at the forge of the spec.

    >>> serves(CommitStatus(forge="github"), "git@github.com:a/b")
    True
    >>> serves(CommitStatus(forge="github"), "https://git.example/a/b")
    False
    """
    place = repository_place(repo_uri)
    if place is None:
        return False
    if spec.hosts is not None:
        return place.host in {host.lower() for host in spec.hosts}
    host = urlsplit(api_url(spec)).hostname or ""
    return place.host == _SERVICES.get(host, host)


def commit_status_request(spec: CommitStatus, report: RunReport, *, secret: bytes, target_url: str | None) -> Request:
    """The request that sets the status of a run's commit; the repository is at the forge (`serves`).

    Raises:
        SecretUnusable: The token cannot be sent.
        ValueError: The repository's path is not one of that forge.
    """
    place = repository_place(report.repo_uri)
    if place is None:
        raise ValueError(f"{report.repo_uri} is no address of a repository")
    context = _bounded(report.filled(spec.context), _KEY_CHARS.get(spec.forge, _CONTEXT_CHARS))
    links = (report.link(target_url), commit_page(report.repo_uri, report.commit, spec.forge))
    longest = _LINK_CHARS.get(spec.forge, URL_CHARS)
    link = next((one for one in links if one is not None and len(one) <= longest), None)
    status = _Status(
        base=api_url(spec),
        path=place.path,
        commit=report.commit,
        state=_STATES[spec.forge][report.state],
        context=context,
        description=_cut(report.description, DESCRIPTION_CHARS),
        url=link,
        name=_cut(report.filled(spec.context), _CONTEXT_CHARS),
    )
    try:
        url, body = _BUILDERS[spec.forge](status)
    except ValueError as error:
        raise ValueError(f"{error}: correct repoUri, or leave its triggers out by spec.triggers") from None
    present = {name: value for name, value in body.items() if value is not None}
    headers = {"Content-Type": "application/json", "Accept": "application/json", **login(spec.forge, secret)}
    return Request(url=url, body=json.dumps(present).encode(), headers=headers)


def _github(status: _Status) -> tuple[str, Mapping[str, Any]]:
    owner, name = _owner_and_name(status.path)
    body = {
        "state": status.state,
        "context": status.context,
        "description": status.description,
        "target_url": status.url,
    }
    return f"{status.base}/repos/{_quoted(owner)}/{_quoted(name)}/statuses/{status.commit}", body


def _gitlab(status: _Status) -> tuple[str, Mapping[str, Any]]:
    if "/" not in status.path:
        raise ValueError(f"{status.path} is no group and project")
    body = {
        "state": status.state,
        "name": status.context,
        "description": status.description,
        "target_url": status.url,
    }
    return f"{status.base}/projects/{_quoted(status.path)}/statuses/{status.commit}", body


def _bitbucket(status: _Status) -> tuple[str, Mapping[str, Any]]:
    owner, name = _owner_and_name(status.path)
    body = {
        "key": status.context,
        "state": status.state,
        "url": status.url,
        "name": status.name,
        "description": status.description,
    }
    path = f"repositories/{_quoted(owner)}/{_quoted(name)}/commit/{status.commit}/statuses/build"
    return f"{status.base}/{path}", body


def _bitbucket_server(status: _Status) -> tuple[str, Mapping[str, Any]]:
    project, name = status.path.split("/")[-_TWO:] if "/" in status.path else ("", "")
    if not project or not name:
        raise ValueError(f"{status.path} is no project and repository")
    body = {
        "key": status.context,
        "state": status.state,
        "url": status.url or f"{status.base}/projects/{_quoted(project)}/repos/{_quoted(name)}/commits/{status.commit}",
        "name": status.name,
        "description": status.description,
    }
    path = f"rest/api/latest/projects/{_quoted(project)}/repos/{_quoted(name)}/commits/{status.commit}/builds"
    return f"{status.base}/{path}", body


def _azure(status: _Status) -> tuple[str, Mapping[str, Any]]:
    parts = status.path.split("/")
    if parts[0] == "v3":  # over SSH: v3/organization/project/repository
        del parts[0]
    elif "_git" in parts[1:-1]:
        at = parts.index("_git")
        parts = [*parts[:at], parts[at + 1]] if at > 1 else [parts[0], parts[at + 1], parts[at + 1]]
    if len(parts) != 3:  # noqa: PLR2004  organization, project, repository
        raise ValueError(f"{status.path} is no organization, project and repository")
    organization, project, name = map(_quoted, parts)
    genre, _, rest = status.context.rpartition("/")
    body = {
        "state": status.state,
        "description": status.description,
        "targetUrl": status.url,
        "context": {"name": rest, "genre": genre} if genre and rest else {"name": status.context},
    }
    path = f"{organization}/{project}/_apis/git/repositories/{name}/commits/{status.commit}/statuses"
    return f"{status.base}/{path}?{_AZURE_VERSION}", body


_BUILDERS: dict[str, Callable[[_Status], tuple[str, Mapping[str, Any]]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "gitea": _github,
    "bitbucket": _bitbucket,
    "bitbucket-server": _bitbucket_server,
    "azure": _azure,
}


def login(forge: str, secret: bytes) -> dict[str, str]:
    """The header with the token; `user:password` is sent as HTTP Basic.

    Raises:
        SecretUnusable: It cannot be sent.
    """
    token = token_of(secret)
    if forge == "azure" or ":" in token:
        pair = token if ":" in token else f":{token}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    if forge == "gitlab":
        return {"PRIVATE-TOKEN": token}
    return {"Authorization": f"{'token' if forge == 'gitea' else 'Bearer'} {token}"}


def _owner_and_name(path: str) -> tuple[str, str]:
    owner, _, name = path.partition("/")
    if not owner or not name or "/" in name:
        raise ValueError(f"{path} is no owner and repository")
    return owner, name


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _bounded(text: str, characters: int) -> str:
    """A key of at most so many characters; one that is longer ends with a digest of all of it."""
    if len(text) <= characters:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{text[: characters - len(digest) - 1]}-{digest}"
