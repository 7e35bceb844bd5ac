"""Pull requests as each forge delivers them, signed; shapes from the forges' documents, and Gitea's as it sends it."""

import base64
import uuid

from tests.forges import deliveries as d

NUMBER, TIME = 7, "2026-05-06T07:08:09Z"
OTHER = "https://forge.example.com/stranger/app.git"
OPENED = {
    "github": "opened",
    "gitea": "opened",
    "gitlab": "open",
    "bitbucket": "pullrequest:created",
    "bitbucket-server": "pr:opened",
    "azure": "active",
}
PUSHED = OPENED | {
    "github": "synchronize",
    "gitea": "synchronized",
    "gitlab": "update",
    "bitbucket": "pullrequest:updated",
    "bitbucket-server": "pr:from_ref_updated",
}
CLOSED = {
    "github": "closed",
    "gitea": "closed",
    "gitlab": "merge",
    "bitbucket": "pullrequest:rejected",
    "bitbucket-server": "pr:declined",
    "azure": "abandoned",
}


def _hub(action, commit, fork, at, number, url, source):
    """GitHub and Gitea: `head.repo` is null when the fork was deleted."""
    repository = {"id": 1, "full_name": "team/app", "clone_url": url, "ssh_url": d.SSH, "html_url": url[:-4]}
    stranger = {"id": 2, "full_name": "stranger/app", "clone_url": OTHER}
    return {
        "action": action,
        "number": number,
        "pull_request": {
            "id": 99,
            "number": number,
            "title": "change $(HOME) ☃",
            "state": "closed" if action == "closed" else "open",
            "updated_at": at,
            "head": {"ref": source, "sha": commit, "repo": None if fork is None else stranger if fork else repository},
            "base": {"ref": "main", "sha": d.BEFORE, "repo": repository},
        },
        "repository": repository,
        "sender": {"login": "bob"},
    }


def _gitlab(action, commit, fork, at, number, url, source):
    attributes = {
        "id": 99,
        "iid": number,
        "action": action,
        "state": "merged" if action == "merge" else "opened",
        "source_branch": source,
        "target_branch": "main",
        "source_project_id": None if fork is None else 16 if fork else 15,
        "target_project_id": 15,
        "last_commit": {"id": commit},
        "updated_at": at.replace("T", " ").replace("Z", " UTC"),
    }
    if action == "update":
        attributes["oldrev"] = d.BEFORE
    project = {"id": 15, "web_url": url[:-4], "git_ssh_url": d.SSH, "git_http_url": url}
    return {"object_kind": "merge_request", "event_type": "merge_request", "project": project} | {
        "object_attributes": attributes
    }


def _cloud(commit, fork, at, number, url, source):
    mine = {"uuid": "{1}", "full_name": "team/app"}
    other = None if fork is None else {"uuid": "{2}", "full_name": "stranger/app"} if fork else mine
    return {
        "pullrequest": {
            "id": number,
            "state": "OPEN",
            "source": {"branch": {"name": source}, "commit": {"hash": commit[:12]}, "repository": other},
            "destination": {"branch": {"name": "main"}, "commit": {"hash": d.BEFORE[:12]}, "repository": mine},
            "updated_on": at.replace("Z", ".123456+00:00"),
        },
        "repository": mine | {"links": {"html": {"href": url[:-4]}}},
    }


def _server(commit, fork, number, url, source):
    mine = {"id": 84, "slug": "app", "links": {"clone": [{"href": url, "name": "http"}]}}
    other = {"slug": "app"} if fork is None else {"id": 85, "slug": "app"} if fork else mine
    return {
        "pullRequest": {
            "id": number,
            "updatedDate": 1778051289000,
            "fromRef": {
                "id": f"refs/heads/{source}",
                "displayId": source,
                "latestCommit": commit,
                "repository": other,
            },
            "toRef": {"id": "refs/heads/main", "displayId": "main", "latestCommit": d.BEFORE, "repository": mine},
        }
    }


def _azure(status, commit, fork, at, number, url, source):
    resource = {
        "pullRequestId": number,
        "status": status,
        "sourceRefName": f"refs/heads/{source}",
        "targetRefName": "refs/heads/main",
        "lastMergeSourceCommit": {"commitId": commit},
        "repository": {"id": "278d5cd2", "remoteUrl": url},
    }
    if fork is not False:
        resource["forkSource"] = {"name": f"refs/heads/{source}", "repository": {"id": "999"}}
    event = {"active": "git.pullrequest.updated", "abandoned": "git.pullrequest.updated"}
    event = event.get(status, "git.pullrequest.merged")
    return {"id": str(uuid.uuid4()), "eventType": event, "createdDate": at, "resource": resource}


def pull(
    forge,
    action,
    *,
    fork=False,
    commit=d.AFTER,
    at=TIME,
    number=NUMBER,
    url=d.HTTP,
    source="feature/x",
    secret=d.SECRET,
):
    """Headers and body of one; `fork`: True, False, or None where the payload does not have the repository."""
    identity = str(uuid.uuid4())
    given = (commit, fork, at, number, url, source)
    headers = {"Content-Type": "application/json"}
    if forge in {"github", "gitea"}:
        body = d.encoded(_hub(action, *given))
        name = "GitHub" if forge == "github" else "Gitea"
        headers |= {f"X-{name}-Event": "pull_request", f"X-{name}-Delivery": identity}
        headers["X-Hub-Signature-256"] = f"sha256={d.digest(secret, body)}"
        headers["X-Gitea-Signature"] = d.digest(secret, body)
    elif forge == "gitlab":
        body = d.encoded(_gitlab(action, *given))
        headers |= {"X-Gitlab-Event": "Merge Request Hook", "X-Gitlab-Event-UUID": identity, "X-Gitlab-Token": secret}
    elif forge == "azure":
        body = d.encoded(_azure(action, *given))
        headers["Authorization"] = "Basic " + base64.b64encode(b"bob:pass word").decode()
    else:
        cloud = forge == "bitbucket"
        body = d.encoded(_cloud(*given) if cloud else _server(commit, fork, number, url, source))
        headers |= {"X-Event-Key": action, "X-Request-UUID" if cloud else "X-Request-Id": identity}
        headers["X-Hub-Signature"] = f"sha256={d.digest(secret, body)}"
    return headers, body
