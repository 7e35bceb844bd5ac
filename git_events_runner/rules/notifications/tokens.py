"""The token in a Secret, as it is sent in a header."""

from __future__ import annotations

from git_events_runner.errors import SecretUnusable


def token_of(secret: bytes) -> str:
    """The token without the blanks around it.

    Raises:
        SecretUnusable: It is empty, or cannot be a token.
    """
    token = secret.decode("latin-1").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        message = "the token is empty, or has characters that no token has (write it without `Bearer`)"
        raise SecretUnusable(message, reason="SecretInvalid")
    return token
