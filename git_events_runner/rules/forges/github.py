"""GitHub, Gitea and Forgejo: one dialect with the same fields.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#push, https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

from .fields import Wanted
from .push import IgnoredEvent, Push, at, change, text_at, texts

WANTED: Wanted = {
    "ref": {},
    "after": {},
    "deleted": {},
    "repository": {"clone_url": {}, "ssh_url": {}, "html_url": {}, "git_url": {}},
}


def push_of(event: str, payload: object) -> Push | IgnoredEvent:
    """A `push` event; everything else is ignored (`create` and `delete` come beside a push).

    For an annotated tag `after` is the tag object: the commit is in `head_commit`.

    Raises:
        Unreadable: It is not what these forges send.
    """
    if event != "push":
        return IgnoredEvent(reason=f"event {event} moves no reference" if event != "ping" else "a ping")
    repository = at(payload, "repository")
    moved = change(at(payload, "ref"), at(payload, "after"), deleted=at(payload, "deleted") is True)
    if moved.reference.startswith("refs/tags/") and not moved.deleted:
        tagged = change(moved.reference, at(payload, "head_commit", "id"))
        moved = tagged if tagged.commit is not None else moved
    return Push(
        repositories=texts(*(text_at(repository, name) for name in ("clone_url", "ssh_url", "html_url", "git_url"))),
        changes=(moved,),
    )
