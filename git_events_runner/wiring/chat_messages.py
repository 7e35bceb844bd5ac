"""Joins apprise and our HTTP client for messages to people: what the addresses in a Secret are sent, and their answers.

An address that accepted a message is not sent it again, while another address of the same Secret is tried again. All
addresses together have a deadline; those that had no turn are the first of the next attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from git_events_runner.errors import GitAddressRefused, GitError
from git_events_runner.rules.notifications.chat import ChatMessage, addresses_of
from git_events_runner.rules.notifications.request import Accepted, Refused, Retry, Verdict, verdict_of

if TYPE_CHECKING:
    from git_events_runner.edges.chat.client import ChatClient
    from git_events_runner.edges.chat.confinement import Answer

_KEPT = 1000


class HttpAnswer(Protocol):
    """An answer of the client for messages."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def retry_after_s(self) -> float | None:
        """When to send again, if the receiver names a time."""

    @property
    def body(self) -> bytes:
        """The beginning of the body."""


Exchange = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[HttpAnswer]]


@dataclass(slots=True)
class _Attempts:
    """The addresses that accepted a message, and those that were sent it and did not."""

    accepted: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


class ChatMessages:
    """Sends messages to chat systems; apprise is imported with the first one."""

    def __init__(self, *, deadline_s: float) -> None:
        """`deadline_s` bounds a message to all addresses of a Secret."""
        self._deadline_s = deadline_s
        self._client: ChatClient | None = None
        self._attempts: dict[str, _Attempts] = {}  # by the id of a message that is to be sent again

    async def send(
        self, message: ChatMessage, *, identity: str, secret: bytes, exchange: Exchange, owner: str
    ) -> Verdict:
        """Send a message to each address in the value of a Secret.

        Raises:
            SecretUnusable: An address cannot be used; none was sent anything.
        """
        from git_events_runner.edges.chat import chat_client
        from git_events_runner.edges.chat.services import SCHEMES

        addresses = addresses_of(secret, SCHEMES)
        self._client = self._client or chat_client()
        before = self._attempts.pop(identity, _Attempts())
        now = _Attempts(accepted=before.accepted)
        verdicts: list[Verdict] = []
        open_ = [one for one in addresses if one not in before.accepted]
        try:
            async with asyncio.timeout(self._deadline_s):
                for address in sorted(open_, key=before.failed.__contains__):
                    now.failed.add(address)
                    verdict = await self._send_one(self._client, address, message, exchange, owner)
                    if isinstance(verdict, Accepted):
                        now.failed.remove(address)
                        now.accepted.add(address)
                    else:
                        verdicts.append(verdict)
        except TimeoutError:
            verdicts.append(Retry(message=f"{len(open_) - len(verdicts)} addresses have not accepted the message yet"))
        retries = [one for one in verdicts if isinstance(one, Retry)]
        if retries:
            if len(self._attempts) >= _KEPT:
                del self._attempts[next(iter(self._attempts))]
            self._attempts[identity] = now
            return retries[0]
        return verdicts[0] if verdicts else Accepted()

    async def _send_one(
        self, client: ChatClient, address: str, message: ChatMessage, exchange: Exchange, owner: str
    ) -> Verdict:
        scheme = address.partition("://")[0].lower()

        async def carry_out(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            from git_events_runner.edges.chat.confinement import Answer

            answer = await exchange(method, url, body, headers)
            return Answer(status=answer.status, retry_after_s=answer.retry_after_s, body=answer.body)

        try:
            found = await client.deliver(
                address, title=message.title, body=message.body, level=message.level, exchange=carry_out, owner=owner
            )
        except TimeoutError:
            return Retry(message=f"{scheme}: no complete answer")
        if found.accepted:
            return Accepted()
        if isinstance(found.error, GitAddressRefused):
            raise found.error
        if isinstance(found.error, GitError):
            return Retry(message=f"{scheme}: {found.error}", after_s=found.error.retry_after_s or None)
        if found.answer is None:
            return Refused(message=f"{scheme}: the address is not complete: see docs/chat.md")
        verdict = verdict_of(found.answer.status, retry_after_s=found.answer.retry_after_s)
        if isinstance(verdict, Accepted):
            text = "the service refuses the message: check token, its rights, and channel in the address"
            return Refused(message=f"{scheme}: {text}")
        if isinstance(verdict, Retry):
            return Retry(message=f"{scheme}: {verdict.message}", after_s=verdict.after_s)
        status = f"HTTP status {found.answer.status}"
        return Refused(message=f"{scheme}: {status}: check token and channel in the address of the Secret")
