"""GitHub, Gitea and Forgejo: one dialect with the same fields.

https://docs.github.com/en/webhooks/webhook-events-and-payloads (`push`, `pull_request`) and
https://docs.gitea.com/usage/webhooks (`pull_request_sync`, and `synchronized` for `synchronize`)
"""

from __future__ import annotations

from git_events_runner.rules.proofs import Request, Signature, signed

from .fields import Wanted
from .forge import Forge
from .pull import PullRequest, branch, commit_of, differ, moment, no_change, number_of
from .push import PING, IgnoredEvent, Push, at, change, text_at, texts

_REPOSITORY: Wanted = {"clone_url": {}, "ssh_url": {}, "html_url": {}, "git_url": {}}
_SIDE: Wanted = {"label": {}, "ref": {}, "sha": {}, "repo": {"id": {}, "full_name": {}}}
WANTED: Wanted = {
    "action": {},
    "number": {},
    "pull_request": {"head": _SIDE, "base": _SIDE, "updated_at": {}},
    "ref": {},
    "after": {},
    "deleted": {},
    "ref_type": {},
    "sha": {},
    "repository": _REPOSITORY,
}

_PULLS = {"pull_request", "pull_request_sync"}
_OPEN, _CLOSED = {"opened", "synchronize", "synchronized", "reopened"}, "closed"


def push_of(event: str, payload: object) -> Push | PullRequest | IgnoredEvent:
    """A `push`, and `create` and `delete` of a branch or tag, which come next to a push or (of Gitea) alone.

    For an annotated tag `after` is the tag object: the commit is in `head_commit`.

    Raises:
        MalformedPayload: It is not what these forges send.
    """
    if event in _PULLS:
        return _pull_request(event, payload)
    if event in {"create", "delete"}:
        return _companion(event, payload)
    if event != "push":
        return PING if event == "ping" else IgnoredEvent(reason=f"event {event} moves no reference")
    repository = at(payload, "repository")
    moved = change(at(payload, "ref"), at(payload, "after"), deleted=at(payload, "deleted") is True)
    if moved.reference.startswith("refs/tags/") and not moved.deleted:
        tagged = change(moved.reference, at(payload, "head_commit", "id"))
        moved = tagged if tagged.commit is not None else moved
    return Push(repositories=_urls(repository), changes=(moved,))


def _pull_request(event: str, payload: object) -> PullRequest | IgnoredEvent:
    """One that was opened, pushed to, reopened or closed; `head.repo` is null when the fork was deleted."""
    action, number = at(payload, "action"), number_of(event, at(payload, "number"))
    if action != _CLOSED and action not in _OPEN:
        return no_change(event, action)
    if isinstance(number, IgnoredEvent):
        return number
    pull = at(payload, "pull_request")
    head, base = at(pull, "head"), at(pull, "base")
    return PullRequest(
        event=event,
        repositories=_urls(at(payload, "repository")),
        number=number,
        commit=commit_of(at(head, "sha")),
        head=f"refs/pull/{number}/head",
        merge=f"refs/pull/{number}/merge",
        target=branch(at(base, "ref")),
        fork=differ(at(head, "repo"), at(base, "repo"), "id", "full_name") or _has_no_branch(head, action),
        closed=action == _CLOSED,
        at=moment(at(pull, "updated_at")),
    )


def _has_no_branch(head: object, action: object) -> bool:
    """Whether it is one of Gitea's AGit flow: pushed to `refs/for/`, which takes no write access.

    Its `head.repo` is the repository itself, but its label is empty, and its reference is that of the pull request.
    That alone may also be a branch that was deleted, if it is closed.
    """
    reference = at(head, "ref")
    is_branch = not isinstance(reference, str) or not reference.startswith("refs/")
    return at(head, "label") == "" or (action != _CLOSED and not is_branch)


def _companion(event: str, payload: object) -> Push | IgnoredEvent:
    """A branch or tag that was created or deleted; anything else that is created is ignored."""
    name, kind = text_at(payload, "ref"), text_at(payload, "ref_type")
    if name is None or kind not in {"branch", "tag"}:
        return IgnoredEvent(reason=f"event {event} moves no reference")
    full = name if name.startswith("refs/") else f"refs/{'tags' if kind == 'tag' else 'heads'}/{name}"
    moved = change(full, at(payload, "sha") if kind == "branch" else None, deleted=event == "delete")
    return Push(repositories=_urls(at(payload, "repository")), changes=(moved,), companion=event)


def _urls(repository: object) -> tuple[str, ...]:
    return texts(*(text_at(repository, name) for name in ("clone_url", "ssh_url", "html_url", "git_url")))


def _verify(request: Request) -> Signature:
    return signed(request.one("x-hub-signature-256"), request.body, request.keys, "sha256", b"sha256=")


FORGE = Forge(
    name="github",
    verify=_verify,
    events=("x-github-event",),
    delivery_ids=("x-github-delivery",),
    push_of=push_of,
    wanted=WANTED,
    forms=True,
)
