"""Whether a request proves that its sender knows the secret: one function for each `authConfig.type`.

Signatures are computed over the raw body, before anything parses it, and compared in constant time; every key is tried,
whether an earlier one fitted or not. Formats as the forges document them:
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries,
https://docs.gitlab.com/user/project/integrations/webhooks/, https://docs.gitea.com/usage/webhooks,
https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/,
https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks and
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from git_events_runner.resources.bounds import WEBHOOK_KEY_BYTES, WEBHOOK_KEYS

Headers = Mapping[str, Sequence[bytes]]
"""Lower-case names and all their values, as received."""

SHORTEST_KEY = 16
WINDOW_S = 300
_FORM = b"application/x-www-form-urlencoded"
_SECRET, _PUBLIC = b"whsec_", b"whpk_"
_PUBLIC_BYTES = 32


class Signature(Enum):
    """What a request's proof is worth."""

    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"
    OLD = "old"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a trigger's requests prove themselves; `header` is that of the types `header` and `hmac`."""

    type: str
    header: str
    algorithm: str = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    scheme: Scheme
    headers: Headers
    body: bytes
    keys: tuple[bytes, ...]
    now_s: float

    def one(self, name: str) -> bytes | Signature:
        """The value of a header that must be there once."""
        values = self.headers.get(name, ())
        if not any(values):
            return Signature.MISSING
        return values[0] if len(values) == 1 else Signature.WRONG

    def first(self, *names: str) -> bytes | Signature:
        """The value of the first of these headers that is there."""
        return self.one(next((name for name in names if any(self.headers.get(name, ()))), names[0]))


class KeysRefused(ValueError):
    """More than a webhook's Secret may hold; the text follows the words "key … of Secret …"."""


_SHORTEN = f"at most {WEBHOOK_KEYS} keys of {WEBHOOK_KEY_BYTES} bytes are tried, one on each line: remove the old ones"


def keys_of(value: bytes) -> tuple[bytes, ...]:
    r"""The keys in a Secret's value: one a line, so that an old and a new one hold while the forge is changed over.

    A line of nothing but white space is no key: everybody could guess it.

    >>> keys_of(b"new\nold\n  \n")
    (b'new', b'old')

    Raises:
        KeysRefused: There are too many, or one is too long: each costs a digest of the body, before anything is proved.
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
    """Why no request can ever fit these keys, or None; the text follows the words "key … of Secret …".

    >>> unusable("github", (b"one", bytes([0xff])))
    >>> unusable("github", (bytes([0xff]),))
    'is not UTF-8, which is all that a forge takes: write the secret as text'
    """
    if not keys:
        return "holds no secret: write one into it"
    if kind == "standard-webhooks" or (kind == "gitlab" and any(key.startswith(_SECRET) for key in keys)):
        publics = [_decoded(key, _PUBLIC) for key in keys] if kind == "standard-webhooks" else []
        if not any(_decoded(key, _SECRET) for key in keys) and not any(
            len(key or b"") == _PUBLIC_BYTES for key in publics
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
    return any(len(_decoded(key, _SECRET) or key) < SHORTEST_KEY for key in keys)


def judge(scheme: Scheme, headers: Headers, body: bytes, keys: tuple[bytes, ...], *, now_s: float) -> Signature:
    """Judge a request. UNUSABLE means that the keys, not the request, are wrong."""
    return _TYPES[scheme.type](_Request(scheme=scheme, headers=headers, body=body, keys=keys, now_s=now_s))


def reader_verifier(scheme: Scheme, headers: Headers, keys: tuple[bytes, ...], *, default_header: str) -> Signature:
    """Judge a request without a body (a GET): signing types show the secret itself, in the default header.

    A public key, which signatures can be checked with, is no secret that somebody could show.
    """
    if scheme.type in {"header", "azure"}:
        return judge(scheme, headers, b"", keys, now_s=0.0)
    shown = Scheme(type="header", header=default_header)
    secret = tuple(key for key in keys if not (scheme.type == "standard-webhooks" and key.startswith(_PUBLIC)))
    found = judge(shown, headers, b"", secret, now_s=0.0)
    return Signature.WRONG if found is Signature.UNUSABLE and keys else found


def equalize_timing(body: bytes) -> None:
    """Take as long as a wrong signature: who asks for triggers learns nothing from the time."""
    hmac.compare_digest(hmac.digest(b"no trigger", body, hashlib.sha256), bytes(32))


def _any(matches: Sequence[bool]) -> Signature:
    return Signature.GOOD if True in matches else Signature.WRONG


def _header(request: _Request) -> Signature:
    given = request.one(request.scheme.header.lower())
    return given if isinstance(given, Signature) else _same(given, request.keys)


def _same(given: bytes, keys: Sequence[bytes]) -> Signature:
    if not keys:
        return Signature.UNUSABLE
    return _any([hmac.compare_digest(given.strip(), key.strip()) for key in keys])


def _signed(given: bytes | Signature, body: bytes, keys: Sequence[bytes], algorithm: str, prefix: bytes) -> Signature:
    """A hexadecimal HMAC behind `prefix`; without keys nothing can be right."""
    if isinstance(given, Signature):
        return given
    if not keys:
        return Signature.UNUSABLE
    if not given.startswith(prefix):
        return Signature.WRONG
    shown = given[len(prefix) :].lower()
    return _any([hmac.compare_digest(hmac.new(key, body, algorithm).hexdigest().encode(), shown) for key in keys])


def _github(request: _Request) -> Signature:
    return _signed(request.one("x-hub-signature-256"), request.body, request.keys, "sha256", b"sha256=")


def _gitea(request: _Request) -> Signature:
    """Bare hexadecimal digits; a form is signed over the JSON in it, unlike GitHub's."""
    given, body = request.first("x-forgejo-signature", "x-gitea-signature"), request.body
    form = b"".join(request.headers.get("content-type", ())[:1]).split(b";")[0].strip().lower() == _FORM
    if form and request.keys and isinstance(given, bytes):
        body = form_payload(body) or b""
    return _signed(given, body, request.keys, "sha256", b"")


def _gitlab(request: _Request) -> Signature:
    """Where a signing token is among the keys, only signed deliveries are good."""
    unread = not request.keys and "webhook-signature" in request.headers
    if unread or any(key.startswith(_SECRET) for key in request.keys):
        return _standard(request)
    given = request.one("x-gitlab-token")
    return given if isinstance(given, Signature) else _same(given, request.keys)


def _bitbucket(request: _Request) -> Signature:
    """Signed; or, where Data Center has no secret but a user, HTTP Basic with the keys that are `user:password`."""
    users = [key for key in request.keys if b":" in key]
    given = request.one("authorization")
    if isinstance(given, bytes) and "x-hub-signature" not in request.headers and (users or not request.keys):
        return _basic(given, users) if users else Signature.UNUSABLE
    return _signed(request.one("x-hub-signature"), request.body, request.keys, "sha256", b"sha256=")


def _hmac(request: _Request) -> Signature:
    """Hexadecimal digits, with or without `sha256=` before them."""
    prefix = f"{request.scheme.algorithm}=".encode()
    given = request.one(request.scheme.header.lower())
    if isinstance(given, bytes) and b"=" not in given:
        prefix = b""
    return _signed(given, request.body, request.keys, request.scheme.algorithm, prefix)


def _azure(request: _Request) -> Signature:
    """HTTP Basic; a key is `user:password`, or the password alone."""
    given = request.one("authorization")
    if isinstance(given, Signature):
        return given
    if not request.keys:
        return Signature.UNUSABLE
    return _basic(given, request.keys)


def _basic(given: bytes, keys: Sequence[bytes]) -> Signature:
    name, _, encoded = given.partition(b" ")
    try:
        shown = base64.b64decode(encoded.strip(), validate=True) if name.lower() == b"basic" else b""
    except binascii.Error:
        shown = b""
    password = shown.partition(b":")[2]
    return _any([hmac.compare_digest(shown if b":" in key else password, key) for key in keys])


def _standard(request: _Request) -> Signature:
    """`v1` (HMAC-SHA256) and `v1a` (Ed25519) over `id.timestamp.body`, any of several, within five minutes."""
    given = request.first("webhook-signature")
    identity, moment = request.one("webhook-id"), request.one("webhook-timestamp")
    if isinstance(given, Signature):
        return given
    if not isinstance(identity, bytes) or not isinstance(moment, bytes) or not moment.isdigit():
        return Signature.WRONG
    secrets = [key for line in request.keys if (key := _decoded(line, _SECRET))]
    publics = [key for line in request.keys if (key := _decoded(line, _PUBLIC))]
    if not secrets and not publics:
        return Signature.UNUSABLE
    message = b".".join((identity, moment, request.body))
    matches = [False]
    macs = [base64.b64encode(hmac.digest(key, message, hashlib.sha256)) for key in secrets]
    for part in given.split(b" ")[:_SIGNATURES]:
        version, _, shown = part.partition(b",")
        if version == b"v1":
            matches += [hmac.compare_digest(mac, shown) for mac in macs]
        elif version == b"v1a":
            matches += [_ed25519(key, message, shown) for key in publics]
    if _any(matches) is Signature.WRONG:
        return Signature.WRONG
    return Signature.GOOD if abs(request.now_s - int(moment[:_DIGITS])) <= WINDOW_S else Signature.OLD


_SIGNATURES = 16
_DIGITS = 12


def _decoded(line: bytes, prefix: bytes) -> bytes | None:
    """The key in a line of Standard Webhooks' form, or None."""
    if not line.startswith(prefix):
        return None
    try:
        return base64.b64decode(line.removeprefix(prefix), validate=True) or None
    except binascii.Error:
        return None


def _ed25519(key: bytes, message: bytes, shown: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # only who uses public keys pays for it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(key) != _PUBLIC_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(shown, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def form_payload(body: bytes) -> bytes | None:
    """The field `payload` of a form, in which GitHub and Gitea can send the JSON.

    >>> form_payload(b"a=1&payload=%7B%22a%22%3A+1%7D")
    b'{"a": 1}'
    """
    # Searched for, not split: it is anybody's body, and may have millions of fields.
    _, found, rest = (b"&" + body).partition(b"&payload=")
    return _unquoted(rest.partition(b"&")[0].replace(b"+", b" ")) if found else None


def _unquoted(value: bytes) -> bytes:
    """As urllib's `unquote_to_bytes`, which takes seconds for a body of three million percent signs."""
    return _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace(b"%", b"").decode()), value)


_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


_TYPES: Mapping[str, Callable[[_Request], Signature]] = {
    "header": _header,
    "github": _github,
    "gitlab": _gitlab,
    "gitea": _gitea,
    "bitbucket": _bitbucket,
    "azure": _azure,
    "standard-webhooks": _standard,
    "hmac": _hmac,
}
