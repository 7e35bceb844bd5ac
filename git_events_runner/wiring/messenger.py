"""Joins Secrets and HTTP for messages: a Notifier and a run become a request, and its answer a verdict.

The client of the messages is imported with the first one: an installation without a Notifier does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from git_events_runner.edges.git.allowed_addresses import LOOPBACK
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.request import Repository
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.ports import SecretReader
from git_events_runner.errors import ApiError, GitAddressRefused, GitError, SecretUnusable
from git_events_runner.rules.notifications.chat import chat_message
from git_events_runner.rules.notifications.report import FAILED, RunReport
from git_events_runner.rules.notifications.request import Accepted, Refused, Request, Retry, Verdict, verdict_of
from git_events_runner.rules.notifications.webhook import Report, message_id, payload_of, webhook_request
from git_events_runner.settings.runtime import GitConfig

from .chat_messages import ChatMessages
from .worker_logs import WorkerLogs

if TYPE_CHECKING:
    from git_events_runner.edges.git.http.messages import HttpAnswer, MessageClient

log = structlog.get_logger(target="notifications")

_UNAUTHORIZED = frozenset((401, 403))
_SIMULATED_KEY = b"0" * 16  # instead of a Secret's value, where nothing is sent


class Messenger:
    """Sends messages with the Secrets that Notifiers name."""

    def __init__(
        self,
        *,
        secrets: SecretReader,
        git: Callable[[], GitConfig],
        own_addresses: Collection[str],
        loopback: bool,
        simulate: bool,
        deadline_s: float,
        now: Callable[[], datetime],
        logs: WorkerLogs,
    ) -> None:
        """`git` has the addresses that are allowed; `simulate`: messages are logged, and not sent.

        `deadline_s` bounds one request; a message to all addresses of chat systems has twice as long.
        """
        self._deadline_s = deadline_s
        self._secrets = secrets
        self._git = git
        self._own_addresses = own_addresses
        self._loopback = loopback
        self._simulate = simulate
        self._now = now
        self._logs = logs
        self._chat = ChatMessages(deadline_s=2 * deadline_s)
        self._clients: dict[MessageClient, int] = {}  # requests under way; the last one is that of the settings
        self._of: GitConfig | None = None

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.close()
        self._clients.clear()
        self._of = None

    async def send(self, notifier: Snapshot, report: Report) -> Verdict:
        """Send the message of a Notifier about a run or a problem; what its answer means."""
        namespace = notifier.ref.namespace or ""
        try:
            return await self._send(notifier, report)
        except SecretUnusable as error:
            return Retry(message=str(error), reason=error.reason)
        except ApiError as error:
            return Retry(message=f"the Secret cannot be read in namespace {namespace}: {error}")
        except GitAddressRefused as error:
            return Refused(message=str(error).replace("no source may", "nothing may"))
        except GitError as error:
            return Retry(message=str(error), after_s=error.retry_after_s or None)
        except ValueError as error:
            return Refused(message=str(error))

    async def _send(self, notifier: Snapshot, report: Report) -> Verdict:
        spec = notifier.model.spec
        if self._simulate:
            self._show(notifier, report)
            return Accepted(simulated=True)
        secret = None
        if spec.secret_ref is not None:
            secret = await self._value(notifier, report, spec.secret_ref, spec.secret_key)
        pem = await self._ca(notifier, report)
        if spec.log_lines is not None and isinstance(report, RunReport) and report.state == FAILED:
            found = await self._logs.read(report, spec.log_lines)
            report = replace(report, log=found.lines, log_problem=found.problem)

        async def exchange(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
            answer = await self._exchange(notifier, pem, method, url, body, headers)
            if answer.status in _UNAUTHORIZED:
                self._forget(notifier, report)
            return answer

        if spec.type == "chat":
            return await self._chat.send(
                chat_message(report, spec.target_url),
                identity=message_id(notifier.uid, report),
                secret=secret or b"",
                exchange=exchange,
                owner=notifier.ref.namespace or "",
            )
        request = self._request(notifier, report, secret)
        answer = await exchange("POST", request.url, request.body, request.headers)
        if answer.status in _UNAUTHORIZED and secret is not None:
            present = await self._value(notifier, report, spec.secret_ref, spec.secret_key)
            if present != secret:
                return Retry(message=f"HTTP status {answer.status}: the Secret was renewed, and is used now")
            self._forget(notifier, report)
        return verdict_of(answer.status, retry_after_s=answer.retry_after_s, body=answer.body)

    def _forget(self, notifier: Snapshot, report: Report) -> None:
        """Read the Secret again the next time: it may have been renewed within the time that it is kept."""
        named = notifier.model.spec.secret_ref
        if named is not None:
            self._secrets.forget(self._place(notifier, report, named), named.name)

    async def _exchange(
        self,
        notifier: Snapshot,
        pem: str | None,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> HttpAnswer:
        """Carry out a request of a message, within the bounds of addresses."""
        parts, tls = urlsplit(url), notifier.model.spec.tls_config
        if parts.scheme not in self._git().allowed_schemes:
            raise GitAddressRefused(f"addresses that begin with {parts.scheme}:// are not allowed (git.allowedSchemes)")
        receiver = Repository(
            url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            ca_pem=pem,
            verify=not (tls is not None and tls.no_verify_ssl),
            owner=notifier.ref.namespace or "",
        )
        client = await self._client()
        self._clients[client] += 1
        try:
            return await client.send(receiver, method, url, body, headers)
        finally:
            self._clients[client] -= 1

    async def _ca(self, notifier: Snapshot, report: Report) -> str | None:
        tls = notifier.model.spec.tls_config
        if tls is None or tls.ca_cert is None:
            return None
        found = await self._value(notifier, report, tls.ca_cert.secret_ref, tls.ca_cert.key)
        return found.decode("utf-8", "replace")

    def _request(self, notifier: Snapshot, report: Report, secret: bytes | None) -> Request:
        """The request of a Notifier of any type but chat.

        Raises:
            SecretUnusable: The Secret's value cannot be used.
            ValueError: The repository is none of the forge.
        """
        from git_events_runner.rules.notifications.cloudevents import cloudevents_request
        from git_events_runner.rules.notifications.commit_status import commit_status_request

        spec, now = notifier.model.spec, self._now()
        if spec.commit_status is not None and isinstance(report, RunReport):
            return commit_status_request(spec.commit_status, report, secret=secret or b"", target_url=spec.target_url)
        if spec.type == "cloudevents":
            payload, identity = payload_of(report, spec.target_url, now), message_id(notifier.uid, report)
            return cloudevents_request(spec.address, payload, identity=identity, token=secret, now=now)
        return webhook_request(
            spec.address,
            report,
            notifier_uid=notifier.uid,
            secret=secret or b"",
            target_url=spec.target_url,
            now=now,
        )

    def _show(self, notifier: Snapshot, report: Report) -> None:
        spec, place = notifier.model.spec, "the addresses in its Secret"
        if spec.type == "chat":
            message = chat_message(report, spec.target_url)
            text = " | ".join((message.title, *message.body.splitlines()))
        else:
            secret = _SIMULATED_KEY if spec.secret_ref is not None else None
            request = self._request(notifier, report, secret)
            parts, text = urlsplit(request.url), request.body.decode()
            place = f"{parts.scheme}://{parts.netloc}{parts.path}"
        log.info(
            "notification.simulated",
            kind=notifier.ref.kind,
            namespace=notifier.ref.namespace,
            name=notifier.ref.name,
            job=report.about,
            result=report.state,
            url=place,
            message=text,
        )

    async def _value(self, notifier: Snapshot, report: Report, ref: Any, key: str) -> bytes:
        """The value of a key.

        Raises:
            SecretUnusable: The Secret or the key is missing, or the value is too large.
            ApiError: The API server does not answer.
        """
        place = self._place(notifier, report, ref)
        found = await self._secrets.get(place, ref.name, key)
        if key not in found:
            message = f"Secret {place}/{ref.name} has no key {key}; add it or name another key"
            raise SecretUnusable(message, reason="SecretKeyMissing")
        return found[key]

    def _place(self, notifier: Snapshot, report: Report, ref: Any) -> str:
        """The namespace of a Secret: the Notifier's own; of a ClusterNotifier the named one, or the trigger's."""
        return notifier.ref.namespace or ref.namespace or report.trigger.namespace or ""

    async def _client(self) -> MessageClient:
        """The client of the settings as they are now; former ones are closed when they are idle."""
        git = self._git()
        if git is not self._of:
            from git_events_runner.edges.git import message_client

            refused = (*LOOPBACK, *self._own_addresses, *git.cluster_networks, *git.refused_networks)
            allowed = (*(LOOPBACK if self._loopback else ()), *git.allowed_networks)
            limits = Limits(
                deadline_s=self._deadline_s,
                host_concurrency=git.host_concurrency,
                host_rate=git.host_rate,
                host_burst=git.host_burst,
            )
            self._clients[message_client(limits, refused_networks=refused, allowed_networks=allowed)] = 0
            self._of = git
        *former, current = self._clients
        for old in former:
            if not self._clients[old]:
                del self._clients[old]
                await old.close()
        return current
