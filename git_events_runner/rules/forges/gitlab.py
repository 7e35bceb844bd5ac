"""GitLab: push, tag and merge request hooks of projects, groups and systems.

https://docs.gitlab.com/user/project/integrations/webhook_events/ and
https://docs.gitlab.com/administration/system_hooks/ (a system hook names its events in the payload alone).
"""

from __future__ import annotations

from git_events_runner.rules.proofs import SECRET, Request, Signature, same_key, standard_webhook

from .fields import Wanted
from .forge import Forge
from .pull import PullRequest, branch, commit_of, differ, moment, no_change, number_of
from .push import Change, IgnoredEvent, MalformedPayload, Push, at, change, text_at, texts

WANTED: Wanted = {
    "object_kind": {},
    "event_name": {},
    "ref": {},
    "after": {},
    "checkout_sha": {},
    "changes": {"ref": {}, "after": {}},
    "object_attributes": {
        "action": {},
        "iid": {},
        "oldrev": {},
        "source_project_id": {},
        "target_project_id": {},
        "target_branch": {},
        "updated_at": {},
        "last_commit": {"id": {}},
    },
    "project": {"git_http_url": {}, "git_ssh_url": {}, "web_url": {}, "http_url": {}},
}

_PUSHES = {"push", "tag_push"}
_OPEN, _CLOSED = {"open", "reopen"}, {"close", "merge"}


def push_of(event: str, payload: object) -> Push | PullRequest | IgnoredEvent:
    """Push Hook, Tag Push Hook, and the same events of a System Hook (also `repository_update`, several references).

    `checkout_sha` is the commit; for an annotated tag `after` is the tag object. Both are absent on deletion.

    Raises:
        MalformedPayload: It is not what GitLab sends.
    """
    name = text_at(payload, "object_kind") or text_at(payload, "event_name") or ""
    project = at(payload, "project")
    urls = texts(*(text_at(project, field) for field in ("git_http_url", "git_ssh_url", "web_url", "http_url")))
    if name == "repository_update":
        return Push(repositories=urls, changes=_several(at(payload, "changes")))
    if name == "merge_request":
        return _merge_request(event or name, urls, at(payload, "object_attributes"))
    if name not in _PUSHES:
        return IgnoredEvent(reason=f"event {event or name} moves no reference")
    moved = change(at(payload, "ref"), at(payload, "after"))
    if not moved.deleted:
        shown = at(payload, "checkout_sha")
        moved = change(moved.reference, shown if isinstance(shown, str) else at(payload, "after"))
    return Push(repositories=urls, changes=(moved,))


def _merge_request(event: str, urls: tuple[str, ...], attributes: object) -> PullRequest | IgnoredEvent:
    """One that was opened, pushed to (an update with `oldrev`), reopened, closed or merged."""
    action, number = at(attributes, "action"), number_of(event, at(attributes, "iid"))
    pushed = action == "update" and isinstance(at(attributes, "oldrev"), str)
    if not pushed and (not isinstance(action, str) or action not in _OPEN | _CLOSED):
        return no_change(event, action)
    if isinstance(number, IgnoredEvent):
        return number
    mine, target = ({"id": at(attributes, f"{side}_project_id")} for side in ("source", "target"))
    return PullRequest(
        event=event,
        repositories=urls,
        number=number,
        commit=commit_of(at(attributes, "last_commit", "id")),
        head=f"refs/merge-requests/{number}/head",
        target=branch(at(attributes, "target_branch")),
        fork=differ(mine, target, "id"),
        closed=action in _CLOSED,
        at=moment(at(attributes, "updated_at")),
    )


def _several(listed: object) -> tuple[Change, ...]:
    if not isinstance(listed, list):
        raise MalformedPayload("changes is no list")
    return tuple(change(at(one, "ref"), at(one, "after")) for one in listed)


def _verify(request: Request) -> Signature:
    """If a signing token is among the keys, only signed deliveries are good."""
    unread = not request.keys and "webhook-signature" in request.headers
    if unread or any(key.startswith(SECRET) for key in request.keys):
        return standard_webhook(request)
    given = request.one("x-gitlab-token")
    return given if isinstance(given, Signature) else same_key(given, request.keys)


FORGE = Forge(
    name="gitlab",
    verify=_verify,
    events=("x-gitlab-event",),
    delivery_ids=("x-gitlab-event-uuid",),
    push_of=push_of,
    wanted=WANTED,
)
