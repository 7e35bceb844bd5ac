"""Failures of a connection: each becomes the error that states what to do."""

from __future__ import annotations

import ssl

import aiohttp

from git_events_runner.edges.git.allowed_addresses import unreachable
from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.errors import (
    GitCutOff,
    GitError,
    GitProtocolError,
    GitTlsError,
    GitUnreachable,
    GitUnsupported,
)

from .errors import (
    PROXY_UNAUTHORIZED,
    ProxyLoginRefused,
    proxy_refused,
)
from .framing import FramingTooLarge

# OpenSSL's reasons for an answer that is not a TLS record.
_NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"))


def _tls_error(repository: Repository, error: Exception) -> GitTlsError:
    """A certificate that is not accepted, a server without TLS, or no TLS that both support."""
    detail = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(detail, ssl.SSLCertVerificationError | ssl.CertificateError):
        return GitTlsError(f"{repository}: the server's certificate is not accepted: {shown(str(detail))}")
    reason = str(getattr(detail, "reason", None) or detail)
    if reason in _NO_TLS:
        return GitTlsError(f"{repository}: the server speaks no TLS at this port; is it http://, or another port?")
    return GitTlsError(f"{repository}: no TLS connection: {shown(reason.replace('_', ' ').lower())}")


def translate(repository: Repository, error: Exception) -> GitError:
    """Our error for one of aiohttp's; aiohttp's text is included only if it is known to contain no credential."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _tls_error(repository, error)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        whose = "the host name" if repository.proxy is None else "the host name in spec.proxy.url"
        return GitUnreachable(f"{repository}: {whose} does not resolve")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        wants = isinstance(error, ProxyLoginRefused) or getattr(error, "status", None) == PROXY_UNAUTHORIZED
        if wants and repository.proxy is not None:
            return proxy_refused(repository, repository.proxy)
        whose = "the proxy" if repository.proxy is None else "the proxy in spec.proxy.url"
        return GitUnreachable(f"{repository}: {whose} does not answer, or does not let us through")
    if isinstance(error, aiohttp.ClientConnectorError):
        return unreachable(repository, error.host, error.port, error.os_error)
    if isinstance(error, aiohttp.InvalidURL):
        which = "the URL" if repository.proxy is None else "the URL, or that in spec.proxy.url,"
        return GitUnsupported(f"{repository}: {which} has no host that can be reached")
    if isinstance(error, FramingTooLarge):
        return GitProtocolError(f"{repository}: {error}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return GitCutOff(f"{repository}: the answer was cut off")
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return GitUnreachable(f"{repository}: the server closed the connection without an answer")
    return GitProtocolError(f"{repository}: the answer is not HTTP: {type(error).__name__}")
