"""Azure DevOps: pushes, several references in one delivery, and pull requests; the event is in the body alone.

https://learn.microsoft.com/azure/devops/service-hooks/events (`git.push`, `git.pullrequest.created` and the like)
"""

from __future__ import annotations

from git_events_runner.rules.proofs import Request, Signature, basic_login

from .fields import Wanted
from .forge import Forge
from .pull import PullRequest, branch, commit_of, moment, no_change, number_of
from .push import IgnoredEvent, MalformedPayload, Push, at, change, text_at, texts

WANTED: Wanted = {
    "id": {},
    "eventType": {},
    "createdDate": {},
    "resource": {
        "pullRequestId": {},
        "status": {},
        "sourceRefName": {},
        "targetRefName": {},
        "lastMergeSourceCommit": {"commitId": {}},
        "forkSource": {"name": {}, "repository": {"id": {}}},
        "refUpdates": {"name": {}, "newObjectId": {}},
        "repository": {"remoteUrl": {}, "sshUrl": {}, "webUrl": {}, "url": {}},
    },
}


_PULLS = {"git.pullrequest.created", "git.pullrequest.updated", "git.pullrequest.merged"}
_CLOSED = {"completed", "abandoned"}


def push_of(_: str, payload: object) -> Push | PullRequest | IgnoredEvent:
    """Every reference of a push, or a pull request.

    Raises:
        MalformedPayload: It is not what Azure DevOps sends.
    """
    event = text_at(payload, "eventType") or ""
    if event in _PULLS:
        return _pull_request(event, payload)
    if event != "git.push":
        return IgnoredEvent(reason=f"event {event or 'without eventType'} moves no reference")
    listed = at(payload, "resource", "refUpdates")
    if not isinstance(listed, list):
        raise MalformedPayload("resource.refUpdates is no list")
    return Push(
        repositories=_urls(payload),
        changes=tuple(change(at(one, "name"), at(one, "newObjectId")) for one in listed),
    )


def _pull_request(event: str, payload: object) -> PullRequest | IgnoredEvent:
    """`status` decides: `git.pullrequest.merged` is also sent for an attempt to merge one that stays open.

    A fork's head is in no reference of this repository, only the commit that merges it.
    """
    resource = at(payload, "resource")
    number, status = number_of(event, at(resource, "pullRequestId")), at(resource, "status")
    if isinstance(number, IgnoredEvent):
        return number
    if status != "active" and (not isinstance(status, str) or status not in _CLOSED):
        return no_change(event, status)
    fork = at(resource, "forkSource") is not None or not isinstance(at(resource, "sourceRefName"), str)
    name = branch(at(resource, "sourceRefName"))
    return PullRequest(
        event=event,
        repositories=_urls(payload),
        number=number,
        commit=commit_of(at(resource, "lastMergeSourceCommit", "commitId")),
        head=None if fork or name is None else f"refs/heads/{name}",
        merge=f"refs/pull/{number}/merge",
        target=branch(at(resource, "targetRefName")),
        fork=fork,
        closed=status in _CLOSED,
        at=moment(at(payload, "createdDate")),
    )


def _urls(payload: object) -> tuple[str, ...]:
    repository = at(payload, "resource", "repository")
    return texts(*(text_at(repository, name) for name in ("remoteUrl", "sshUrl", "webUrl", "url")))


def _verify(request: Request) -> Signature:
    """HTTP Basic; a key is `user:password`, or the password alone."""
    given = request.one("authorization")
    if isinstance(given, Signature):
        return given
    if not request.keys:
        return Signature.UNUSABLE
    return basic_login(given, request.keys)


FORGE = Forge(
    name="azure",
    verify=_verify,
    events=(),
    delivery_ids=(),
    delivery_id_of=lambda payload: text_at(payload, "id"),
    push_of=push_of,
    wanted=WANTED,
)
