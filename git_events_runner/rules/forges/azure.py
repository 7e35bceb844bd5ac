"""Azure DevOps: `git.push`, several references in one delivery; the event is in the body alone.

https://learn.microsoft.com/azure/devops/service-hooks/events#git.push
"""

from __future__ import annotations

from git_events_runner.rules.proofs import Request, Signature, basic_login

from .fields import Wanted
from .forge import Forge
from .push import IgnoredEvent, MalformedPayload, Push, at, change, text_at, texts

WANTED: Wanted = {
    "id": {},
    "eventType": {},
    "resource": {
        "refUpdates": {"name": {}, "newObjectId": {}},
        "repository": {"remoteUrl": {}, "sshUrl": {}, "webUrl": {}, "url": {}},
    },
}


def push_of(_: str, payload: object) -> Push | IgnoredEvent:
    """Every reference of a push.

    Raises:
        Unreadable: It is not what Azure DevOps sends.
    """
    event = text_at(payload, "eventType") or ""
    if event != "git.push":
        return IgnoredEvent(reason=f"event {event or 'without eventType'} moves no reference")
    listed = at(payload, "resource", "refUpdates")
    if not isinstance(listed, list):
        raise MalformedPayload("resource.refUpdates is no list")
    repository = at(payload, "resource", "repository")
    return Push(
        repositories=texts(*(text_at(repository, name) for name in ("remoteUrl", "sshUrl", "webUrl", "url"))),
        changes=tuple(change(at(one, "name"), at(one, "newObjectId")) for one in listed),
    )


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
