"""Sends a message to one chat address: apprise writes the requests, in a thread, and our client carries them out."""

from __future__ import annotations

import asyncio
import html
import logging
from dataclasses import dataclass

from git_events_runner.concurrency.pools import Pool

from .confinement import Answer, Calls, Exchange, confine, sending
from .services import plugin_for

_THREADS = 4
_LONGEST_S = 80.0  # of all requests of a message: a few, throttled by some plugins


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Whether the service accepted a message; else the answers of its last request, or why there is none."""

    accepted: bool
    answer: Answer | None
    error: Exception | None


class ChatClient:
    """The chat systems; apprise is imported with the first message."""

    def __init__(self) -> None:
        self._pool = Pool("chat", threads=_THREADS, own=1)

    async def deliver(
        self, address: str, *, title: str, body: str, level: str, exchange: Exchange, owner: str
    ) -> Delivery:
        """Send one message; `exchange` carries out the requests, `owner` is the namespace.

        Raises:
            SecretUnusable: The address cannot be used.
            TimeoutError: It took too long.
        """
        calls = Calls(loop=asyncio.get_running_loop(), exchange=exchange)
        with sending(calls):
            async with asyncio.timeout(_LONGEST_S):
                accepted = await self._pool.run(_notify, address, title, body, level, owner=owner)
        refused = [one for one in calls.answers if not 200 <= one.status < 300]  # noqa: PLR2004  HTTP's success
        last = calls.answers[-1] if calls.answers else None
        return Delivery(accepted=accepted, answer=refused[-1] if refused else last, error=calls.error)


def _notify(address: str, title: str, body: str, level: str) -> bool:
    """Let the plugin send; whether all its requests were accepted."""
    confine()
    from apprise.common import NotifyFormat, NotifyType

    logging.getLogger("apprise").disabled = True  # it logs addresses, which are credentials, and answers
    plugin = plugin_for(address)
    formats = plugin.notify_format
    wanted = formats if isinstance(formats, NotifyFormat) else NotifyFormat.TEXT
    content = body if wanted is not NotifyFormat.HTML else f"<pre>{html.escape(body)}</pre>"
    return bool(plugin.notify(body=content, title=title, notify_type=NotifyType(level), body_format=wanted))
