"""The value in the Secret of a Notifier: whether messages of its type can be sent with it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from git_events_runner.errors import SecretUnusable
from git_events_runner.rules.notifications.chat import addresses_of
from git_events_runner.rules.notifications.cloudevents import authorization
from git_events_runner.rules.notifications.commit_status import login
from git_events_runner.rules.notifications.webhook import key_of


def problem_of(spec: Mapping[str, Any], encoded: str) -> str | None:
    """What is wrong with a value, as it is in `data` of a Secret; the text does not contain it.

    >>> problem_of({"type": "webhook"}, "c2hvcnQ=")
    'a key that signs needs at least 16 bytes'
    """
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None  # that data of a Secret is base64 is checked where it is created
    try:
        _read(spec, value)
    except SecretUnusable as error:
        return str(error)
    return None


def _read(spec: Mapping[str, Any], value: bytes) -> None:
    """Read a value as it is read for a message.

    Raises:
        SecretUnusable: It cannot be used.
    """
    match spec.get("type"):
        case "webhook":
            key_of(value)
        case "cloudevents":
            authorization(value)
        case "commit-status":
            login(spec["commitStatus"]["forge"], value)
        case "chat":
            from git_events_runner.edges.chat.services import SCHEMES, plugin_for

            for address in addresses_of(value, SCHEMES):
                plugin_for(address)
