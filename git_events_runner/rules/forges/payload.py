"""From a verified body to its content: the forge's dialect, strict JSON, the delivery's id."""

from __future__ import annotations

import json
from typing import Any

from git_events_runner.rules.proofs import Headers, form_payload

from .fields import Wanted, fields
from .pull import PullRequest
from .push import IgnoredEvent, MalformedPayload, Push
from .registry import BY_NAME, FORGES

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_READ_BYTES = 256 * 1024


# Signed ids first; then those that stay the same when a forge delivers again.
_DELIVERIES = tuple(
    dict.fromkeys(("webhook-id", "idempotency-key", *(name for forge in FORGES for name in forge.delivery_ids)))
)


def forge_of(auth_type: str, headers: Headers) -> str:
    """The dialect of a delivery: the type's own; for types of no forge the one that headers name, else Azure's."""
    if auth_type in BY_NAME:
        return auth_type
    named = (forge.name for forge in FORGES if any(event in headers for event in forge.events))
    return next(named, "azure")


def unsigned_ping(headers: Headers) -> bool:
    """Whether a request is Bitbucket Data Center's test of a connection, which it never signs."""
    events = headers.get("x-event-key")
    return events is not None and list(events) == [b"diagnostics:ping"] and "x-hub-signature" not in headers


def delivery_of(headers: Headers, auth_type: str, body: bytes) -> str | None:
    """The id that a forge's delivery keeps when it is repeated; Azure's is in the body."""
    forge = BY_NAME.get(auth_type)
    for name in (*_DELIVERIES, *(forge.own_delivery_ids if forge else ())):
        values = headers.get(name, ())
        if any(values):
            return values[0].decode("latin-1")
    if forge is not None and forge.delivery_id_of is not None:
        try:
            return forge.delivery_id_of(_decoded(body, forge.wanted))
        except MalformedPayload:
            return None
    return None


def read(forge: str, headers: Headers, body: bytes) -> Push | PullRequest | IgnoredEvent:
    """Parse a delivery.

    Raises:
        MalformedPayload: It is not what this forge sends; `media_type` where the content type already shows that.
    """
    known = BY_NAME[forge]
    given = headers.get("content-type", ())
    media_type = given[0].decode("latin-1").partition(";")[0].strip().lower() if given else ""
    if media_type == _FORM and known.forms:
        field = form_payload(body)
        if field is None:
            raise MalformedPayload("the form has no field payload")
        body = field
    elif media_type != _JSON:
        raise MalformedPayload(f"the content type is not {_JSON}", media_type=True)
    events = [headers[name][0].decode("latin-1") for name in known.events if headers.get(name)]
    if known.events and not events:
        raise MalformedPayload(f"no header {known.events[-1]} names the event")
    if not body.strip():
        raise MalformedPayload("the body is empty; it must be the event's JSON payload")
    payload = _decoded(body, known.wanted)
    if not isinstance(payload, dict):
        raise MalformedPayload("the body is no JSON object")
    return known.push_of(events[0][:_EVENT_CHARS] if events else "", payload)


_EVENT_CHARS = 64


def _decoded(body: bytes, wanted: Wanted) -> object:
    """JSON (RFC 8259): UTF-8, no key twice, no NaN. Of a large text only the wanted fields.

    Forges of .NET and Java cut texts in the middle of a character, or begin with a byte order mark: neither is refused,
    but no value of ours has half a character (`push.text_at`).
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if len(body) > _READ_BYTES:
        return fields(body, wanted)
    try:
        return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise MalformedPayload("the body is nested too deeply") from None
    except ValueError:  # also UnicodeError, and numbers with thousands of digits
        raise MalformedPayload("the body is not JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
