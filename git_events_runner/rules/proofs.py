"""How a request authenticates its sender by a key: the forms that forges share."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

Headers = Mapping[str, Sequence[bytes]]
"""Lower-case names and all their values, as received."""
WINDOW_S = 300
_FORM = b"application/x-www-form-urlencoded"
SECRET = b"whsec_"
PUBLIC = b"whpk_"
PUBLIC_BYTES = 32


class Signature(Enum):
    """The result of a request's authentication."""

    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"
    OLD = "old"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a trigger's requests authenticate; `header` is that of the types `header` and `hmac`."""

    type: str
    header: str
    algorithm: str = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request with all that its verification needs."""

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


def any_of(matches: Sequence[bool]) -> Signature:
    """GOOD if one of all comparisons matched."""
    return Signature.GOOD if True in matches else Signature.WRONG


def shown_secret(request: Request) -> Signature:
    """The secret itself, in the header that the trigger names."""
    given = request.one(request.scheme.header.lower())
    return given if isinstance(given, Signature) else same_key(given, request.keys)


def same_key(given: bytes, keys: Sequence[bytes]) -> Signature:
    """Whether a shown secret is one of the keys."""
    if not keys:
        return Signature.UNUSABLE
    return any_of([hmac.compare_digest(given.strip(), key.strip()) for key in keys])


def signed(given: bytes | Signature, body: bytes, keys: Sequence[bytes], algorithm: str, prefix: bytes) -> Signature:
    """A hexadecimal HMAC after `prefix`; without keys every signature is wrong."""
    if isinstance(given, Signature):
        return given
    if not keys:
        return Signature.UNUSABLE
    if not given.startswith(prefix):
        return Signature.WRONG
    shown = given[len(prefix) :].lower()
    return any_of([hmac.compare_digest(hmac.new(key, body, algorithm).hexdigest().encode(), shown) for key in keys])


def hmac_header(request: Request) -> Signature:
    """Hexadecimal digits, with or without `sha256=` before them."""
    prefix = f"{request.scheme.algorithm}=".encode()
    given = request.one(request.scheme.header.lower())
    if isinstance(given, bytes) and b"=" not in given:
        prefix = b""
    return signed(given, request.body, request.keys, request.scheme.algorithm, prefix)


def basic_login(given: bytes, keys: Sequence[bytes]) -> Signature:
    """HTTP Basic; a key is `user:password`, or the password alone."""
    name, _, encoded = given.partition(b" ")
    try:
        shown = base64.b64decode(encoded.strip(), validate=True) if name.lower() == b"basic" else b""
    except binascii.Error:
        shown = b""
    password = shown.partition(b":")[2]
    return any_of([hmac.compare_digest(shown if b":" in key else password, key) for key in keys])


def standard_webhook(request: Request) -> Signature:
    """`v1` (HMAC-SHA256) and `v1a` (Ed25519) over `id.timestamp.body`, any of several, within five minutes."""
    given = request.first("webhook-signature")
    identity, moment = request.one("webhook-id"), request.one("webhook-timestamp")
    if isinstance(given, Signature):
        return given
    if not isinstance(identity, bytes) or not isinstance(moment, bytes) or not moment.isdigit():
        return Signature.WRONG
    secrets = [key for line in request.keys if (key := key_in_line(line, SECRET))]
    publics = [key for line in request.keys if (key := key_in_line(line, PUBLIC))]
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
    if any_of(matches) is Signature.WRONG:
        return Signature.WRONG
    return Signature.GOOD if abs(request.now_s - int(moment[:_DIGITS])) <= WINDOW_S else Signature.OLD


_SIGNATURES = 16
_DIGITS = 12


def key_in_line(line: bytes, prefix: bytes) -> bytes | None:
    """The key in a line of Standard Webhooks' form, or None."""
    if not line.startswith(prefix):
        return None
    try:
        return base64.b64decode(line.removeprefix(prefix), validate=True) or None
    except binascii.Error:
        return None


def _ed25519(key: bytes, message: bytes, shown: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # imported only if public keys are used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(key) != PUBLIC_BYTES:
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
    # Searched for, not split: the body is unauthenticated, and may have millions of fields.
    _, found, rest = (b"&" + body).partition(b"&payload=")
    return _unquoted(rest.partition(b"&")[0].replace(b"+", b" ")) if found else None


def _unquoted(value: bytes) -> bytes:
    """As urllib's `unquote_to_bytes`, which takes seconds for a body of three million percent signs."""
    return _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace(b"%", b"").decode()), value)


_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
