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

from .problem import PROBLEM, PROBLEM_SOLVED, ProblemReport
from .report import RunReport
from .request import Request

_PREFIX = b"whsec_"
_SHORTEST_KEY = 16
_TYPES = {PROBLEM: "trigger.problem", PROBLEM_SOLVED: "trigger.problem-solved"}

Report = RunReport | ProblemReport


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


def message_id(notifier_uid: str, report: Report) -> str:
    """The id of a message: the same however often it is sent, so that receivers can drop a repetition."""
    text = f"{notifier_uid}/{report.identity}"
    return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def payload_of(report: Report, target_url: str | None, now: datetime) -> dict[str, Any]:
    """What a message contains."""
    about = _problem(report) if isinstance(report, ProblemReport) else _run(report, target_url)
    trigger = {"kind": report.trigger.kind, "name": report.trigger.name}
    return {
        "type": _TYPES.get(report.state) or f"run.{report.state.lower()}",
        "timestamp": rfc3339(now),
        "data": {"namespace": report.trigger.namespace, "trigger": trigger, **about},
    }


def _run(report: RunReport, target_url: str | None) -> dict[str, Any]:
    times = {"queued": report.created_at, "started": report.started_at, "finished": report.ended_at}
    moments = {name: rfc3339(at) for name, at in times.items() if at is not None}
    optional = {
        "why": report.why,
        "seconds": report.seconds,
        "url": report.link(target_url),
        "log": list(report.log) or None,
        "logProblem": report.log_problem,
    }
    return {
        "source": report.source_name,
        "run": report.number,
        "attempt": report.attempt,
        "commit": report.commit,
        "job": report.job.name,
        "state": report.state,
        **moments,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _problem(report: ProblemReport) -> dict[str, Any]:
    found = {"state": report.state, "reason": report.reason, "since": rfc3339(report.since)}
    return found | ({"message": report.message} if report.message else {})


def webhook_request(
    address: str, report: Report, *, notifier_uid: str, secret: bytes, target_url: str | None, now: datetime
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
