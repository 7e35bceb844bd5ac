"""The keys of a webhook: read from its Secret, or why they cannot be used."""

from __future__ import annotations

from typing import Any

from git_events_runner.edges.ports import SecretReader
from git_events_runner.errors import SecretUnusable
from git_events_runner.rules.signatures import KeysRefused, keys_of, unusable


async def read_keys(
    secrets: SecretReader, namespace: str, auth: Any, *, live: bool = False, strict: bool = False
) -> tuple[bytes, ...]:
    """The keys that an `authConfig` names; `strict`: at least one of them can match a request.

    Raises:
        SecretUnusable: The Secret or its key is missing or not readable, or its value has no valid keys.
        ApiError: The API server does not respond.
    """
    name = auth.secret_ref.name
    data = await secrets.get(namespace, name, auth.key, live=live)
    if auth.key not in data:
        raise SecretUnusable(
            f"Secret {namespace}/{name} has no key {auth.key}; add it, or name another one", reason="SecretKeyMissing"
        )
    try:
        keys = keys_of(data[auth.key])
    except KeysRefused as refused:
        raise SecretUnusable(f"key {auth.key} of Secret {namespace}/{name} {refused}", reason="SecretInvalid") from None
    why = unusable(auth.type, keys) if strict else None
    if why is not None:
        raise SecretUnusable(f"key {auth.key} of Secret {namespace}/{name} {why}", reason="SecretInvalid")
    return keys
