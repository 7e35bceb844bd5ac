"""The webhook port: it answers from the first moment on, with 503 while nothing can be recorded.

Senders do not try again for long: a port that is open and does not answer (while CRDs are outdated, or caches fill)
would cost them their time-out, and give them no reason.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from git_events_runner.errors import ConfigError
from git_events_runner.rules.senders import Network
from git_events_runner.serving import Server, serving
from git_events_runner.serving.certificates import Certificates


class WebhookPort:
    """The webhook port."""

    def __init__(
        self, app: Any, sock: socket.socket | None, certificates: Certificates, proxies: Sequence[Network]
    ) -> None:
        self._app = app
        self._sock = sock
        self._certificates = certificates
        self._proxies = proxies
        self._stack = contextlib.AsyncExitStack()
        self._served: Server | None = None

    async def __aenter__(self) -> Self:
        """It is not served yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving, if that has not been done."""
        await self._stack.__aexit__(kind, error, trace)

    async def open(self, *, must: bool) -> None:
        """Serve, unless that is done already.

        Raises:
            ConfigError: It `must` be served now, and there is no certificate that can be used.
        """
        if self._served is not None or self._sock is None:
            return
        try:
            await self._certificates.load()
        except ConfigError:
            if must:
                raise
            return
        server = serving(self._app, self._sock, trusted_proxies=self._proxies, tls=self._certificates.context)
        self._served = await self._stack.enter_async_context(server)

    async def close(self) -> None:
        """Return when the requests under way are answered."""
        if self._served is not None:
            await self._served.close()
