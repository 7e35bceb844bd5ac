"""Deliveries as each forge sends them: headers and body of a push, signed; shapes from the forges' documents."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from urllib.parse import urlencode

SECRET = "correct horse battery staple"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwABCD"
BEFORE, AFTER, ZERO, TAG = "1" * 40, "a" * 40, "0" * 40, "9" * 40
HTTP, SSH = "https://forge.example.com/team/app.git", "git@forge.example.com:team/app.git"


def digest(secret, body, algorithm="sha256"):
    """Hexadecimal HMAC."""
    return hmac.new(secret.encode(), body, algorithm).hexdigest()


def encoded(payload):
    """JSON as most forges write it."""
    return json.dumps(payload, separators=(",", ":")).encode()


def github(ref="refs/heads/main", after=AFTER, *, secret=SECRET, event="push", url=HTTP, form=False, **more):
    """GitHub: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push; tags are annotated ones."""
    payload = {
        "ref": ref,
        "before": BEFORE,
        "after": TAG if ref.startswith("refs/tags/") and after != ZERO else after,
        "created": False,
        "deleted": after == ZERO,
        "forced": False,
        "base_ref": None,
        "compare": "https://forge.example.com/team/app/compare/111...aaa",
        "commits": [{"id": after, "tree_id": BEFORE, "distinct": True, "message": "change ☃", "added": ["x"]}],
        "head_commit": None if after == ZERO else {"id": after, "message": "change ☃"},
        "repository": {
            "id": 35129377,
            "name": "app",
            "full_name": "team/app",
            "private": False,
            "html_url": url.removesuffix(".git"),
            "git_url": url.replace("https", "git"),
            "ssh_url": SSH if url == HTTP else "git@x:y/z.git",
            "clone_url": url,
            "default_branch": "main",
        },
        "pusher": {"name": "bob", "email": "bob@example.com"},
        "sender": {"login": "bob", "id": 6752317, "type": "User"},
    } | more
    if event == "ping":
        payload = {"zen": "Design for failure.", "hook_id": 1, "repository": payload["repository"]}
    body = encoded(payload)
    if form:
        body = urlencode({"payload": body.decode()}).encode()
    return {
        "User-Agent": "GitHub-Hookshot/044aadd",
        "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "292430182",
        "X-Hub-Signature": f"sha1={digest(secret, body, 'sha1')}",
        "X-Hub-Signature-256": f"sha256={digest(secret, body)}",
    }, body


def gitea(ref="refs/heads/main", after=AFTER, *, secret=SECRET, event="push", url=HTTP, form=False, name="Gitea"):
    """Gitea and Forgejo; a form is signed over the JSON in it (services/webhook/deliver.go of Gitea)."""
    headers, body = github(ref, after, secret=secret, event=event, url=url)
    identity = str(uuid.uuid4())
    names = ("GitHub", "Gitea", "Gogs") + (("Forgejo",) if name == "Forgejo" else ())
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest(secret, body)}"}
    for one in names:
        headers |= {f"X-{one}-Delivery": identity, f"X-{one}-Event": event, f"X-{one}-Event-Type": event}
    headers |= {f"X-{one}-Signature": digest(secret, body) for one in names if one != "GitHub"}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode({"payload": body.decode()}).encode()
    return headers, body


def gitlab(ref="refs/heads/main", after=AFTER, *, secret=SECRET, url=HTTP, kind=None, signed=None, at=None):
    """GitLab: push and tag push, with its token, or signed (Standard Webhooks)."""
    tag = ref.startswith("refs/tags/")
    kind = kind or ("tag_push" if tag else "push")
    payload = {
        "object_kind": kind,
        "event_name": kind,
        "before": BEFORE,
        "after": BEFORE.replace("1", "9") if tag and after != ZERO else after,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": None if after == ZERO else after,
        "user_id": 4,
        "user_username": "bob",
        "project_id": 15,
        "project": {
            "id": 15,
            "name": "app",
            "web_url": url.removesuffix(".git"),
            "git_ssh_url": SSH if url == HTTP else "git@x:y/z.git",
            "git_http_url": url,
            "namespace": "team",
            "path_with_namespace": "team/app",
            "default_branch": "main",
            "homepage": url.removesuffix(".git"),
        },
        "commits": [],
        "total_commits_count": 0,
        "repository": {"name": "app", "url": SSH, "git_http_url": url, "git_ssh_url": SSH, "visibility_level": 0},
    }
    body = encoded(payload)
    identity = str(uuid.uuid4())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitLab/18.9.0-ee",
        "Idempotency-Key": identity,
        "X-Gitlab-Event": {"push": "Push Hook", "tag_push": "Tag Push Hook"}.get(kind, "Issue Hook"),
        "X-Gitlab-Event-UUID": str(uuid.uuid4()),
        "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
        "X-Gitlab-Instance": "https://forge.example.com",
    }
    if signed:
        return headers | standard_headers(body, secret=signed, identity=identity, at=at), body
    return headers | {"X-Gitlab-Token": secret}, body


def bitbucket_cloud(*changes, secret=SECRET, url=HTTP, event="repo:push"):
    """Bitbucket Cloud: changes are (kind, name, commit or None)."""

    def side(kind, name, commit):
        return {"type": kind, "name": name, "target": {"type": "commit", "hash": commit, "message": "x"}}

    listed = [
        {
            "old": side(kind, name, BEFORE),
            "new": side(kind, name, commit) if commit else None,
            "created": False,
            "closed": commit is None,
            "forced": False,
            "truncated": True,
            "commits": [],
        }
        for kind, name, commit in changes or (("branch", "main", AFTER),)
    ]
    payload = {
        "actor": {"type": "user", "nickname": "bob"},
        "repository": {
            "type": "repository",
            "full_name": "team/app",
            "links": {"self": {"href": "https://api.x/2.0/app"}, "html": {"href": url.removesuffix(".git")}},
        },
        "push": {"changes": listed},
    }
    body = encoded(payload)
    return {
        "Content-Type": "application/json",
        "User-Agent": "Bitbucket-Webhooks/2.0",
        "X-Event-Key": event,
        "X-Hook-UUID": str(uuid.uuid4()),
        "X-Request-UUID": str(uuid.uuid4()),
        "X-Attempt-Number": "1",
        "X-Hub-Signature": f"sha256={digest(secret, body)}",
    }, body


def bitbucket_server(*changes, secret=SECRET, url=HTTP, event="repo:refs_changed"):
    """Bitbucket Data Center: changes are (full reference, commit or None)."""
    listed = [
        {
            "ref": {"id": ref, "displayId": ref.split("/", 2)[2], "type": "BRANCH"},
            "refId": ref,
            "fromHash": BEFORE,
            "toHash": commit or ZERO,
            "type": "UPDATE" if commit else "DELETE",
        }
        for ref, commit in changes or (("refs/heads/main", AFTER),)
    ]
    payload = {
        "eventKey": event,
        "date": "2026-05-06T07:08:09+0000",
        "actor": {"name": "bob"},
        "repository": {
            "slug": "app",
            "id": 84,
            "name": "app",
            "project": {"key": "TEAM"},
            "links": {
                "clone": [
                    {"href": SSH if url == HTTP else "ssh://git@x:7999/y/z.git", "name": "ssh"},
                    {"href": url, "name": "http"},
                ],
                "self": [{"href": url.removesuffix(".git") + "/browse"}],
            },
        },
        "changes": listed,
        "commits": [],
        "toCommit": {"id": AFTER},
    }
    body = b'{"test":true}' if event == "diagnostics:ping" else encoded(payload)
    return {
        "Content-Type": "application/json; charset=utf-8",
        "X-Event-Key": event,
        "X-Request-Id": str(uuid.uuid4()),
        "X-Hub-Signature": f"sha256={digest(secret, body)}",
    }, body


def azure(*updates, secret="bob:pass word", url=HTTP, event="git.push"):
    """Azure DevOps: updates are (full reference, commit or None); HTTP Basic, no signature, the id in the body."""
    payload = {
        "subscriptionId": "00000000-0000-0000-0000-000000000000",
        "notificationId": 3,
        "id": str(uuid.uuid4()),
        "eventType": event,
        "publisherId": "tfs",
        "message": {"text": "bob pushed updates to app:main."},
        "resource": {
            "commits": [{"commitId": AFTER, "comment": "x"}],
            "refUpdates": [
                {"name": ref, "oldObjectId": BEFORE, "newObjectId": commit or ZERO}
                for ref, commit in updates or (("refs/heads/main", AFTER),)
            ],
            "repository": {
                "id": "278d5cd2-584d-4b63-824a-2ba458937249",
                "name": "app",
                "url": "https://x/_apis/git/repositories/278d5cd2",
                "defaultBranch": "refs/heads/main",
                "remoteUrl": url,
            },
            "pushId": 14,
        },
        "resourceVersion": "1.0",
        "createdDate": "2026-05-06T07:08:09.000Z",
    }
    authorization = "Basic " + base64.b64encode(secret.encode()).decode()
    return {"Content-Type": "application/json; charset=utf-8", "Authorization": authorization}, encoded(payload)


def standard_headers(body, *, secret=SIGNING, identity=None, at=None):
    """Headers of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""
    identity, moment = identity or f"msg_{uuid.uuid4().hex}", str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{identity}.{moment}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": identity, "webhook-timestamp": moment, "webhook-signature": signature}


def standard(body=b'{"type":"changed"}', *, secret=SIGNING, at=None):
    """A webhook of whatever sender, by the standard."""
    return {"Content-Type": "application/json"} | standard_headers(body, secret=secret, at=at), body


def plain_hmac(body=b"anything", *, secret=SECRET, algorithm="sha256", header="X-Signature"):
    """An HMAC in a header."""
    return {header: f"{algorithm}={digest(secret, body, algorithm)}", "X-Delivery-Id": str(uuid.uuid4())}, body


def plain(body=b"", *, secret=SECRET, header="x-trigger-auth"):
    """The original's: the secret in a header, no body."""
    return {header: secret}, body
