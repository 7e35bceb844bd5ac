"""Messages to webhooks, signed as in Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from git_events_runner.errors import SecretUnusable
from git_events_runner.rules.ledger.mutations import rfc3339

from .report import RunReport
from .request import Request

_PREFIX = b"whsec_"
_SHORTEST_KEY = 16


def key_of(secret: bytes) -> bytes:
    """The key in a Secret: `whsec_` and base64, or the text itself.

    Raises:
        SecretUnusable: It is no such key, or so short that it can be guessed.
    """
    text = secret.strip()
    key = text
    if text.startswith(_PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise SecretUnusable("what follows whsec_ is not base64", reason="SecretInvalid") from None
    if len(key) < _SHORTEST_KEY:
        raise SecretUnusable(f"a key that signs needs at least {_SHORTEST_KEY} bytes", reason="SecretInvalid")
    return key


def message_id(notifier_uid: str, report: RunReport) -> str:
    """The id of a message: the same however often it is sent, so that receivers can drop a repetition."""
    text = f"{notifier_uid}/{report.job_uid}/{report.state}"
    return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def payload_of(report: RunReport, target_url: str | None, now: datetime) -> dict[str, Any]:
    """What a message contains."""
    times = {"queued": report.created_at, "started": report.started_at, "finished": report.ended_at}
    moments = {name: rfc3339(at) for name, at in times.items() if at is not None}
    optional = {"why": report.why, "seconds": report.seconds, "url": report.link(target_url)}
    return {
        "type": f"run.{report.state.lower()}",
        "timestamp": rfc3339(now),
        "data": {
            "namespace": report.trigger.namespace,
            "trigger": {"kind": report.trigger.kind, "name": report.trigger.name},
            "source": report.source_name,
            "run": report.number,
            "attempt": report.attempt,
            "commit": report.commit,
            "job": report.job.name,
            "state": report.state,
            **moments,
            **{name: value for name, value in optional.items() if value is not None},
        },
    }


def webhook_request(
    address: str, report: RunReport, *, notifier_uid: str, secret: bytes, target_url: str | None, now: datetime
) -> Request:
    """The signed request.

    Raises:
        SecretUnusable: The Secret's value is no key.
    """
    body = json.dumps(payload_of(report, target_url, now), separators=(",", ":")).encode()
    identity, seconds = message_id(notifier_uid, report), str(int(now.timestamp()))
    signed = b".".join((identity.encode(), seconds.encode(), body))
    signature = base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{signature}",
    }
    return Request(url=address, body=body, headers=headers)
