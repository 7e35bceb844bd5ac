"""Gitea and Forgejo: GitHub's payloads, with signatures of their own."""

from __future__ import annotations

from git_events_runner.rules.proofs import Request, Signature, form_payload, signed

from .forge import Forge
from .github import WANTED, push_of

_FORM = b"application/x-www-form-urlencoded"


def _verify(request: Request) -> Signature:
    """Bare hexadecimal digits; the signature of a form is over the JSON in it, unlike GitHub's."""
    given, body = request.first("x-forgejo-signature", "x-gitea-signature"), request.body
    form = b"".join(request.headers.get("content-type", ())[:1]).split(b";")[0].strip().lower() == _FORM
    if form and request.keys and isinstance(given, bytes):
        body = form_payload(body) or b""
    return signed(given, body, request.keys, "sha256", b"")


FORGE = Forge(
    name="gitea",
    verify=_verify,
    events=("x-forgejo-event", "x-gitea-event"),
    delivery_ids=("x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery"),
    push_of=push_of,
    wanted=WANTED,
    forms=True,
)
