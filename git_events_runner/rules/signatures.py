"""Whether a request authenticates a sender that knows the secret: one function for each `authConfig.type`.

Signatures are computed over the raw body, before anything parses it, and compared in constant time; every key is tried,
also after a match. Formats as the forges document them:
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries,
https://docs.gitlab.com/user/project/integrations/webhooks/, https://docs.gitea.com/usage/webhooks,
https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/,
https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks and
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence

from git_events_runner.resources.bounds import WEBHOOK_KEY_BYTES, WEBHOOK_KEYS
from git_events_runner.rules.forges.registry import FORGES

from .proofs import (
    PUBLIC,
    PUBLIC_BYTES,
    SECRET,
    Headers,
    Request,
    Scheme,
    Signature,
    hmac_header,
    key_in_line,
    shown_secret,
    standard_webhook,
)

SHORTEST_KEY = 16


class KeysRefused(ValueError):
    """A webhook's Secret exceeds the limits; the text follows the words "key … of Secret …"."""


_SHORTEN = f"at most {WEBHOOK_KEYS} keys of {WEBHOOK_KEY_BYTES} bytes are tried, one on each line: remove the old ones"


def keys_of(value: bytes) -> tuple[bytes, ...]:
    r"""The keys in a Secret's value, one per line: an old and a new one are valid while the forge is reconfigured.

    A line of nothing but white space is no key: it is easy to guess.

    >>> keys_of(b"new\nold\n  \n")
    (b'new', b'old')

    Raises:
        KeysRefused: There are too many, or one is too long: each costs a digest of the body, before authentication.
    """
    if len(value) > (WEBHOOK_KEYS + 1) * (WEBHOOK_KEY_BYTES + 2):
        raise KeysRefused(f"has {len(value)} bytes; {_SHORTEN}")
    keys = tuple(dict.fromkeys(filter(bytes.strip, (line.strip(b"\r") for line in value.split(b"\n")))))
    if len(keys) > WEBHOOK_KEYS:
        raise KeysRefused(f"has {len(keys)} keys; {_SHORTEN}")
    if any(len(key) > WEBHOOK_KEY_BYTES for key in keys):
        raise KeysRefused(f"has a key of more than {WEBHOOK_KEY_BYTES} bytes; {_SHORTEN}")
    return keys


def unusable(kind: str, keys: Sequence[bytes]) -> str | None:
    """Why no request can ever match these keys, or None; the text follows the words "key … of Secret …".

    >>> unusable("github", (b"one", bytes([0xff])))
    >>> unusable("github", (bytes([0xff]),))
    'is not UTF-8, which is all that a forge takes: write the secret as text'
    """
    if not keys:
        return "holds no secret: write one into it"
    if kind == "standard-webhooks" or (kind == "gitlab" and any(key.startswith(SECRET) for key in keys)):
        publics = [key_in_line(key, PUBLIC) for key in keys] if kind == "standard-webhooks" else []
        if not any(key_in_line(key, SECRET) for key in keys) and not any(
            len(key or b"") == PUBLIC_BYTES for key in publics
        ):
            return "is no signing key: it must be whsec_ (or, for Ed25519, whpk_) and base64"
    elif kind == "header":
        if all(_CONTROL.search(key) for key in keys):
            return "has control characters, which no header can carry: write the secret as text"
    elif kind != "hmac" and not any(map(_is_text, keys)):
        return "is not UTF-8, which is all that a forge takes: write the secret as text"
    return None


_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def short_keys(keys: Sequence[bytes]) -> bool:
    """Whether a key is short enough to be guessed."""
    return any(len(key_in_line(key, SECRET) or key) < SHORTEST_KEY for key in keys)


def verify_signature(
    scheme: Scheme, headers: Headers, body: bytes, keys: tuple[bytes, ...], *, now_s: float
) -> Signature:
    """Verify a request. UNUSABLE means that the keys, not the request, are wrong."""
    return _TYPES[scheme.type](Request(scheme=scheme, headers=headers, body=body, keys=keys, now_s=now_s))


def reader_verifier(scheme: Scheme, headers: Headers, keys: tuple[bytes, ...], *, default_header: str) -> Signature:
    """Verify a request without a body (a GET): signing types show the secret itself, in the default header.

    A public key, which verifies signatures, is not secret and so authenticates no request.
    """
    if scheme.type in {"header", "azure"}:
        return verify_signature(scheme, headers, b"", keys, now_s=0.0)
    shown = Scheme(type="header", header=default_header)
    secret = tuple(key for key in keys if not (scheme.type == "standard-webhooks" and key.startswith(PUBLIC)))
    found = verify_signature(shown, headers, b"", secret, now_s=0.0)
    return Signature.WRONG if found is Signature.UNUSABLE and keys else found


def equalize_timing(body: bytes) -> None:
    """Take as long as a wrong signature: the time reveals nothing about which triggers exist."""
    hmac.compare_digest(hmac.digest(b"no trigger", body, hashlib.sha256), bytes(32))


_TYPES: Mapping[str, Callable[[Request], Signature]] = {
    "header": shown_secret,
    "standard-webhooks": standard_webhook,
    "hmac": hmac_header,
    **{forge.name: forge.verify for forge in FORGES},
}
