"""Bitbucket Cloud and Data Center: several references in one push, and pull requests, in two shapes.

https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/ and
https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
"""

from __future__ import annotations

from git_events_runner.rules.proofs import Request, Signature, basic_login, signed

from .fields import Wanted
from .forge import Forge
from .pull import PullRequest, branch, commit_of, differ, moment, number_of
from .push import PING, Change, IgnoredEvent, MalformedPayload, Push, at, change, text_at, texts
from .repository_urls import on_any_host

_SIDE: Wanted = {"type": {}, "name": {}, "target": {"hash": {}}}
_END: Wanted = {"branch": {"name": {}}, "commit": {"hash": {}}, "repository": {"uuid": {}, "full_name": {}}}
_REF: Wanted = {"id": {}, "displayId": {}, "latestCommit": {}, "repository": {"id": {}}}
_PATH: Wanted = {"slug": {}, "project": {"key": {}}}
_LINKS: Wanted = {"html": {"href": {}}, "clone": {"href": {}}, "self": {"href": {}}}
WANTED: Wanted = {
    "pullrequest": {"id": {}, "source": _END, "destination": _END, "updated_on": {}},
    "pullRequest": {
        "id": {},
        "fromRef": _REF,
        "toRef": {**_REF, "repository": {"id": {}, "links": _LINKS, **_PATH}},
        "updatedDate": {},
    },
    "push": {"changes": {"new": _SIDE, "old": _SIDE}},
    "changes": {"refId": {}, "ref": {"id": {}}, "toHash": {}, "type": {}},
    "refLimitExceeded": {},
    "repository": {"links": _LINKS, **_PATH},
}

_CLOUD_OPEN = {"pullrequest:created", "pullrequest:updated"}
_CLOUD_CLOSED = {"pullrequest:fulfilled", "pullrequest:rejected"}
_CENTER_OPEN = {"pr:opened", "pr:from_ref_updated", "pr:reopened"}
_CENTER_CLOSED = {"pr:merged", "pr:declined", "pr:deleted"}


def push_of(event: str, payload: object) -> Push | PullRequest | IgnoredEvent:
    """`repo:push` (Cloud), `repo:refs_changed` and `mirror:repo_synchronized` (Data Center), and pull requests.

    Raises:
        MalformedPayload: It is not what Bitbucket sends.
    """
    if event == "repo:push":
        return _cloud(payload)
    if event in {"repo:refs_changed", "mirror:repo_synchronized"}:
        return _data_center(payload)
    if event in _CLOUD_OPEN | _CLOUD_CLOSED:
        return _cloud_pull(event, payload)
    if event in _CENTER_OPEN | _CENTER_CLOSED:
        return _center_pull(event, at(payload, "pullRequest"))
    return PING if event == "diagnostics:ping" else IgnoredEvent(reason=f"event {event} moves no reference")


def _cloud(payload: object) -> Push:
    listed = at(payload, "push", "changes")
    if not isinstance(listed, list):
        raise MalformedPayload("push.changes is no list")
    changes: list[Change] = []
    for one in listed:
        new, old = at(one, "new"), at(one, "old")
        named = new if isinstance(new, dict) else old
        kind, name = text_at(named, "type"), text_at(named, "name")
        if name is None:
            raise MalformedPayload("a change has neither new nor old name")
        place = "refs/tags/" if kind == "tag" else "refs/heads/"
        changes.append(change(place + name, at(new, "target", "hash"), deleted=not isinstance(new, dict)))
    repository = at(payload, "repository")
    page = text_at(repository, "links", "html", "href")  # git's addresses differ from it by scheme and `.git` alone
    return Push(repositories=texts(page, *_clones(repository)), changes=tuple(changes))


def _data_center(payload: object) -> Push:
    listed = at(payload, "changes")
    if not isinstance(listed, list):
        raise MalformedPayload("changes is no list")
    changes: list[Change] = []
    for one in listed:
        reference = text_at(one, "refId") or text_at(one, "ref", "id")
        changes.append(change(reference, at(one, "toHash"), deleted=at(one, "type") == "DELETE"))
    complete = at(payload, "refLimitExceeded") is not True
    repositories = _center_addresses(at(payload, "repository"))
    return Push(repositories=repositories, changes=tuple(changes), complete=complete)


def _cloud_pull(event: str, payload: object) -> PullRequest | IgnoredEvent:
    """Git shows none of Cloud's pull requests: its head is the branch, if that is in the same repository."""
    pull = at(payload, "pullrequest")
    number = number_of(event, at(pull, "id"))
    if isinstance(number, IgnoredEvent):
        return number
    source, target = at(pull, "source"), at(pull, "destination")
    fork = differ(at(source, "repository"), at(target, "repository"), "uuid", "full_name")
    name = branch(at(source, "branch", "name"))
    repository = at(payload, "repository")
    return PullRequest(
        event=event,
        repositories=texts(text_at(repository, "links", "html", "href"), *_clones(repository)),
        number=number,
        commit=commit_of(at(source, "commit", "hash")),
        head=None if fork or name is None else f"refs/heads/{name}",
        target=branch(at(target, "branch", "name")),
        fork=fork,
        closed=event in _CLOUD_CLOSED,
        at=moment(at(pull, "updated_on")),
    )


def _center_pull(event: str, pull: object) -> PullRequest | IgnoredEvent:
    number = number_of(event, at(pull, "id"))
    if isinstance(number, IgnoredEvent):
        return number
    source, target = at(pull, "fromRef"), at(pull, "toRef")
    return PullRequest(
        event=event,
        repositories=_center_addresses(at(target, "repository")),
        number=number,
        commit=commit_of(at(source, "latestCommit")),
        head=f"refs/pull-requests/{number}/from",
        target=branch(at(target, "displayId"), at(target, "id")),
        fork=differ(at(source, "repository"), at(target, "repository"), "id"),
        closed=event in _CENTER_CLOSED,
        at=moment(at(pull, "updatedDate")),
    )


def _center_addresses(repository: object) -> tuple[str, ...]:
    """Data Center's addresses; many versions send none, only the keys of project and repository."""
    project, slug = text_at(repository, "project", "key"), text_at(repository, "slug")
    found = texts(*_clones(repository))
    return found or (texts(on_any_host(f"{project}/{slug}")) if project and slug else ())


def _clones(repository: object) -> tuple[str | None, ...]:
    """Addresses to clone from; a payload without them still has the page's address."""
    links = at(repository, "links")
    found: list[str | None] = []
    for name in ("clone", "self"):
        listed = at(links, name)
        found += [text_at(one, "href") for one in listed] if isinstance(listed, list) else [text_at(listed, "href")]
    return tuple(found)


def _verify(request: Request) -> Signature:
    """Signed; or, where Data Center has no secret but a user, HTTP Basic with the keys that are `user:password`."""
    users = [key for key in request.keys if b":" in key]
    given = request.one("authorization")
    if isinstance(given, bytes) and "x-hub-signature" not in request.headers and (users or not request.keys):
        return basic_login(given, users) if users else Signature.UNUSABLE
    return signed(request.one("x-hub-signature"), request.body, request.keys, "sha256", b"sha256=")


FORGE = Forge(
    name="bitbucket",
    verify=_verify,
    events=("x-event-key",),
    delivery_ids=("x-request-uuid", "x-delivery-id"),
    own_delivery_ids=("x-request-id",),
    push_of=push_of,
    wanted=WANTED,
)
