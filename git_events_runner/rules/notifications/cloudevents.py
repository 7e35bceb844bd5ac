"""Messages as CloudEvents 1.0 over HTTP in binary mode: attributes are headers, the data is the body.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md. The SDK would add two
packages for these headers; a test reads them with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from git_events_runner.rules.ledger.mutations import rfc3339

from .request import Request
from .tokens import token_of

_PREFIX = "rs.git-events-runner."


def cloudevents_request(
    address: str,
    payload: Mapping[str, Any],
    *,
    identity: str,
    token: bytes | None,
    now: datetime,
) -> Request:
    """The request with an event; `payload` is the message of a webhook, whose `data` becomes that of the event.

    Raises:
        SecretUnusable: The token cannot be sent.
    """
    data, trigger = payload["data"], payload["data"]["trigger"]
    attributes = {
        "specversion": "1.0",
        "id": identity,
        "source": f"/namespaces/{data['namespace']}/{trigger['kind'].lower()}s/{trigger['name']}",
        "type": _PREFIX + payload["type"],
        "subject": data.get("source", trigger["name"]),
        "time": rfc3339(now),
    }
    headers = {f"ce-{name}": _encoded(value) for name, value in attributes.items()}
    headers["Content-Type"] = "application/json"
    if token is not None:
        headers["Authorization"] = authorization(token)
    return Request(url=address, body=json.dumps(data, separators=(",", ":")).encode(), headers=headers)


def _encoded(value: str) -> str:
    """A header's value, percent-encoded where the binding requires it (3.1.3.2).

    >>> _encoded('app@heads/ü "x"')
    'app@heads/%C3%BC%20%22x%22'
    """
    return "".join(
        one if "!" <= one <= "~" and one not in '"%' else "".join(f"%{byte:02X}" for byte in one.encode())
        for one in value
    )


def authorization(token: bytes) -> str:
    """The value of the header with the token.

    Raises:
        SecretUnusable: It cannot be sent.
    """
    return f"Bearer {token_of(token)}"
