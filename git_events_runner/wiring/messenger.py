"""Joins Secrets and HTTP for messages: a Notifier and a run become a request, and its answer a verdict.

The client of the messages is imported with the first one: an installation without a Notifier does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
from git_events_runner.rules.notifications.report import RunReport
from git_events_runner.rules.notifications.request import Accepted, Refused, Request, Retry, Verdict, verdict_of
from git_events_runner.settings.runtime import GitConfig

if TYPE_CHECKING:
    from git_events_runner.edges.git.http.messages import MessageClient

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
    ) -> None:
        """`git` has the addresses that are allowed; `simulate`: messages are logged, and not sent.

        `deadline_s` bounds one request.
        """
        self._deadline_s = deadline_s
        self._secrets = secrets
        self._git = git
        self._own_addresses = own_addresses
        self._loopback = loopback
        self._simulate = simulate
        self._now = now
        self._clients: dict[MessageClient, int] = {}  # requests under way; the last one is that of the settings
        self._of: GitConfig | None = None

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.close()
        self._clients.clear()
        self._of = None

    async def send(self, notifier: Snapshot, report: RunReport) -> Verdict:
        """Send the message of a Notifier about a run; what its answer means."""
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

    async def _send(self, notifier: Snapshot, report: RunReport) -> Verdict:
        spec = notifier.model.spec
        if self._simulate:
            self._show(notifier, report, self._request(notifier, report, _SIMULATED_KEY))
            return Accepted()
        request = self._request(notifier, report, await self._secret(notifier, report, spec.secret_ref, spec))
        parts = urlsplit(request.url)
        if parts.scheme not in self._git().allowed_schemes:
            raise ValueError(f"addresses that begin with {parts.scheme}:// are not allowed (git.allowedSchemes)")
        tls = spec.tls_config
        pem = None
        if tls is not None and tls.ca_cert is not None:
            found = await self._value(notifier, report, tls.ca_cert.secret_ref, tls.ca_cert.key)
            pem = found.decode("utf-8", "replace")
        receiver = Repository(
            url=f"{parts.scheme}://{parts.netloc}",
            ca_pem=pem,
            verify=not (tls is not None and tls.no_verify_ssl),
            owner=notifier.ref.namespace or "",
        )
        client = await self._client()
        self._clients[client] += 1
        try:
            answer = await client.post(receiver, request.url, request.body, request.headers)
        finally:
            self._clients[client] -= 1
        if answer.status in _UNAUTHORIZED:  # the Secret may have been renewed within the time that it is kept
            self._secrets.forget(self._place(notifier, report, spec.secret_ref), spec.secret_ref.name)
        return verdict_of(answer.status, retry_after_s=answer.retry_after_s, body=answer.body)

    def _request(self, notifier: Snapshot, report: RunReport, secret: bytes) -> Request:
        """The request of a Notifier.

        Raises:
            SecretUnusable: The Secret's value cannot be used.
            ValueError: The repository is none of the forge.
        """
        from git_events_runner.rules.notifications.commit_status import commit_status_request
        from git_events_runner.rules.notifications.webhook import webhook_request

        spec = notifier.model.spec
        if spec.commit_status is not None:
            return commit_status_request(spec.commit_status, report, secret=secret, target_url=spec.target_url)
        return webhook_request(
            spec.address,
            report,
            notifier_uid=notifier.uid,
            secret=secret,
            target_url=spec.target_url,
            now=self._now(),
        )

    def _show(self, notifier: Snapshot, report: RunReport, request: Request) -> None:
        place = urlsplit(request.url)
        log.info(
            "notification.simulated",
            kind=notifier.ref.kind,
            namespace=notifier.ref.namespace,
            name=notifier.ref.name,
            job=report.job.name,
            result=report.state,
            url=f"{place.scheme}://{place.netloc}{place.path}",
            message=request.body.decode(),
        )

    async def _secret(self, notifier: Snapshot, report: RunReport, ref: Any, spec: Any) -> bytes:
        return await self._value(notifier, report, ref, spec.secret_key)

    async def _value(self, notifier: Snapshot, report: RunReport, ref: Any, key: str) -> bytes:
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

    def _place(self, notifier: Snapshot, report: RunReport, ref: Any) -> str:
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
