"""The webhook port's certificate: from files or from a Secret, loaded anew when it changes.

A pair that does not fit together is refused and the old one goes on serving.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from git_events_runner.errors import ApiError, ConfigError, SecretUnusable
from git_events_runner.settings import TlsFiles, TlsSecret

log = structlog.get_logger(target="tls")

_LOOK_S = 30.0


class SecretReader(Protocol):
    """Reads Secrets, with a time-limited cache."""

    async def get(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The decoded data of a Secret."""


class Certificates:
    """Holds the TLS context; `context` is None when the port serves plain HTTP."""

    def __init__(self, *, tls: TlsFiles | TlsSecret | None, secrets: SecretReader, namespace: str) -> None:
        self._tls = tls
        self._secrets = secrets
        self._namespace = namespace
        self._loaded: tuple[bytes, bytes] | None = None
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
        except (OSError, ssl.SSLError, SecretUnusable, ApiError, KeyError) as error:
            raise ConfigError(f"the TLS certificate of the webhook port cannot be used: {error}") from error
        self._context, self._loaded = context, (certificate, key)

    async def run(self) -> None:
        """Look for a new pair every half minute until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._tls is None or self._context is None:
                continue
            try:
                pair = await self._read(self._tls)
                if pair != self._loaded:
                    _load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), *pair)
                    _load(self._context, *pair)
                    self._loaded = pair
                    log.info("certificate.loaded")
            except (OSError, ssl.SSLError, SecretUnusable, ApiError, KeyError) as error:
                log.warning("certificate.rejected", error=str(error))

    async def _read(self, tls: TlsFiles | TlsSecret) -> tuple[bytes, bytes]:
        if isinstance(tls, TlsFiles):
            return Path(tls.cert_path).read_bytes(), Path(tls.key_path).read_bytes()  # noqa: ASYNC240  two small files
        data = await self._secrets.get(tls.namespace or self._namespace, tls.name)
        return data["tls.crt"], data["tls.key"]


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
