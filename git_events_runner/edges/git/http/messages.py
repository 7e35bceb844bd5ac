"""Requests with messages to receivers that users choose, over HTTP(S).

Addresses are validated as those of git servers, redirects are not followed, and only the beginning of an answer is
read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from git_events_runner.edges.git.rate_limits import HostRateLimits
from git_events_runner.edges.git.request import Repository
from git_events_runner.errors import GitError, GitTimeout

from .errors import exhausted_s, retry_after_s
from .failures import translate
from .transport import HttpTransport

ANSWER_BYTES = 16 * 1024
_AGENT = {"User-Agent": "git-events-runner"}
_LIMITED = (403, 429)
_LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """The status, when the receiver accepts requests again (if it names a time), and the beginning of the body."""

    status: int
    retry_after_s: float | None
    body: bytes


class MessageClient:
    """Sends messages over the sessions of a transport, with its bounds of addresses, within the limits of its hosts."""

    def __init__(self, transport: HttpTransport, *, hosts: HostRateLimits, deadline_s: float) -> None:
        """`deadline_s` bounds one request, from the wait for a slot at the host to the end of the answer."""
        self._transport = transport
        self._hosts = hosts
        self._deadline_s = deadline_s

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def send(
        self, receiver: Repository, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer:
        """Send one request of a message; cancelling drops the connection.

        Args:
            receiver: Host and TLS settings; error messages contain its `url`, not that of the request.
            method: The method: POST, except for some requests of chat systems.
            url: The address.
            body: The message.
            headers: Its headers.

        Raises:
            GitError: There is no answer; its class names the cause, as for git servers.
        """
        target = URL(url, encoded=True)
        self._transport.check_address(target)
        try:
            async with asyncio.timeout(self._deadline_s):
                context = await self._transport.context(receiver)
                async with (
                    self._hosts.turn(receiver),
                    self._transport.sessions.request(
                        receiver, method, target, body=body, headers={**_AGENT, **headers}, context=context
                    ) as answer,
                ):
                    wait_s = retry_after_s(answer)
                    if wait_s is None and answer.status in _LIMITED:
                        wait_s = exhausted_s(answer)
                    if wait_s is not None and answer.status in _LIMITED:
                        self._hosts.pause(receiver, min(wait_s, _LONGEST_PAUSE_S))
                    return HttpAnswer(status=answer.status, retry_after_s=wait_s, body=await _beginning(answer))
        except GitError:
            raise
        except TimeoutError as error:
            raise GitTimeout(f"{receiver}: no complete answer within {self._deadline_s:.0f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translate(receiver, error) from error


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of the body; an answer that is longer, or is cut off, counts by its status."""
    found = bytearray()
    with contextlib.suppress(aiohttp.ClientPayloadError):
        while len(found) < ANSWER_BYTES and (data := await answer.content.readany()):
            found += data
    if len(found) >= ANSWER_BYTES:
        answer.close()
    return bytes(found[:ANSWER_BYTES])
