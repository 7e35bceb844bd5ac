"""Chat systems and alerting services by apprise, which is imported with the first message and opens no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import ChatClient


def chat_client() -> ChatClient:
    """A client for messages to chat systems."""
    from .client import ChatClient

    return ChatClient()


__all__ = ["chat_client"]
