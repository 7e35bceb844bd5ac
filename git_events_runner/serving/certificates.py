"""The webhook port's certificate: from files or from a Secret, loaded again when it changes.

A pair that does not fit together, or has expired, is refused and the old one stays in use; metrics show when the one
that serves expires and whether the newest could be used, and an Event about the Secret states what is wrong with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from git_events_runner.edges.ports import EventRecorder, SecretReader
from git_events_runner.errors import ApiError, ApiTooManyRequests, ApiUnavailable, ConfigError, SecretUnusable
from git_events_runner.resources.ref import Ref
from git_events_runner.settings import TlsFiles, TlsSecret
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="tls")

_POLL_S = 30.0
_UNUSABLE = (OSError, ssl.SSLError, SecretUnusable, ApiError, KeyError, ValueError)


class Certificates:
    """Holds the TLS context; `context` is None when the port serves plain HTTP."""

    def __init__(
        self,
        *,
        tls: TlsFiles | TlsSecret | None,
        secrets: SecretReader,
        namespace: str,
        announcer: EventRecorder,
        metrics: Metrics,
        poll_s: float = _POLL_S,
    ) -> None:
        self._tls = tls
        self._secrets = secrets
        self._namespace = namespace
        self._announcer = announcer
        self._metrics = metrics
        self._poll_s = poll_s
        self._loaded: tuple[bytes, bytes] | None = None
        self._refused: tuple[tuple[bytes, bytes] | None, str] | None = None  # a pair, and why
        self._context: ssl.SSLContext | None = None

    @property
    def context(self) -> Callable[[], ssl.SSLContext] | None:
        """Gives the context that new connections use."""
        context = self._context
        return None if context is None else lambda: context

    async def load(self) -> None:
        """Load the pair for the first time.

        Raises:
            ConfigError: It cannot be read, or certificate and key do not fit together.
        """
        if self._tls is None:
            return
        try:
            certificate, key = await self._read(self._tls)
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            _load(context, certificate, key)
            expires_at = _expires_at(certificate)
        except _UNUSABLE as error:
            raise ConfigError(f"the TLS certificate of the webhook port cannot be used: {error}") from error
        self._context, self._loaded = context, (certificate, key)
        self._metrics.certificate(valid=True, expires_at=expires_at.timestamp())

    async def run(self) -> None:
        """Check for a new pair every half minute until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            if self._tls is None or self._context is None:
                continue
            pair = None
            try:
                pair = await self._read(self._tls)
                if pair == self._loaded:
                    self._refused = None
                    self._metrics.certificate(valid=True)
                elif self._refused is None or pair != self._refused[0]:
                    self._use_pair(self._context, pair)
            except (ApiUnavailable, ApiTooManyRequests):
                continue  # nothing is known of a new pair
            except _UNUSABLE as error:
                self._reject(self._tls, pair, str(error))

    def _use_pair(self, context: ssl.SSLContext, pair: tuple[bytes, bytes]) -> None:
        """Serve with a new pair, if it can be used."""
        expires_at = _expires_at(pair[0])
        if expires_at <= datetime.now(UTC):
            raise ValueError(f"the certificate expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}")
        _load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), *pair)  # a pair that does not fit breaks its context
        _load(context, *pair)
        self._loaded, self._refused = pair, None
        self._metrics.certificate(valid=True, expires_at=expires_at.timestamp())
        log.info("certificate.loaded")

    def _reject(self, tls: TlsFiles | TlsSecret, pair: tuple[bytes, bytes] | None, error: str) -> None:
        """Report once what is wrong with a new pair, or why it cannot be read."""
        if self._refused == (pair, error):
            return
        self._refused = (pair, error)
        self._metrics.certificate(valid=False)
        log.warning("certificate.rejected", error=error)
        if isinstance(tls, TlsSecret):
            ref = Ref("Secret", tls.namespace or self._namespace, tls.name)
            note = f"the previous certificate of the webhook port is still served: {error}"
            self._announcer.publish(ref, "", kind="Warning", reason="CertificateRejected", note=note)

    async def _read(self, tls: TlsFiles | TlsSecret) -> tuple[bytes, bytes]:
        if isinstance(tls, TlsFiles):
            return Path(tls.cert_path).read_bytes(), Path(tls.key_path).read_bytes()  # noqa: ASYNC240  two small files
        namespace = tls.namespace or self._namespace
        self._secrets.forget(namespace, tls.name)
        data = await self._secrets.get(namespace, tls.name, "tls.crt", "tls.key")
        return data["tls.crt"], data["tls.key"]


def _expires_at(certificate: bytes) -> datetime:
    """When the first certificate of a chain ends.

    Raises:
        ValueError: There is none.
    """
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(certificate).not_valid_after_utc


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a pair that is in memory; the library only takes files, so they exist for a moment, readable by us alone."""
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()
