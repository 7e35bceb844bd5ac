"""Joins apprise and our HTTP client for messages to people: what the addresses in a Secret are sent, and their answers.

An address that accepted a message is not sent it again, while another address of the same Secret is tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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


class ChatMessages:
    """Sends messages to chat systems; apprise is imported with the first one."""

    def __init__(self) -> None:
        self._client: ChatClient | None = None
        self._accepted: dict[str, set[str]] = {}  # addresses, by the id of a message that others did not accept

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
        accepted = self._accepted.pop(identity, set())
        verdicts: list[Verdict] = []
        for address in addresses:
            if address in accepted:
                continue
            verdict = await self._send_one(self._client, address, message, exchange, owner)
            if isinstance(verdict, Accepted):
                accepted.add(address)
            else:
                verdicts.append(verdict)
        retries = [one for one in verdicts if isinstance(one, Retry)]
        if retries:
            if len(self._accepted) >= _KEPT:
                del self._accepted[next(iter(self._accepted))]
            self._accepted[identity] = accepted
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
