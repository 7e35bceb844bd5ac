"""HTTP answers that are not git's: refusals, login pages, redirects; each becomes an error that states what to do."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import NoReturn

import aiohttp
from yarl import URL

from git_events_runner.edges.git.access import ProxyAccess
from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.errors import (
    GitAuthRequired,
    GitForbidden,
    GitNotFound,
    GitProtocolError,
    GitRateLimited,
    GitRedirectRefused,
    GitUnreachable,
    GitUnsupported,
)

MOVED = frozenset({301, 302, 303, 307, 308})
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _TOO_MANY, _SERVER, _UNAVAILABLE = (
    200,
    401,
    403,
    404,
    410,
    429,
    500,
    503,
)
_BAD_REQUEST = 400
PROXY_UNAUTHORIZED = 407
_DEFAULT_RETRY_S = 60.0
_BARE = (
    "the Secret's token is sent as the Authorization header as it is, and has no scheme: write `Bearer TOKEN`, for "
    "GitHub `Basic` and the base64 of `x-access-token:TOKEN` (or use authConfig.type basic)"
)
_LONGEST_RETRY_S = 3600.0
_NO_DATE = (ValueError, TypeError, OverflowError)  # for headers of a server, which may send any year
_EPOCH_FROM_S = 1e8  # more than three years is a date, not a time to wait


class GitProgramFailed(GitUnreachable):
    """500 in git's own content type: its program failed at this request; the server is reachable."""


class ProxyLoginRefused(aiohttp.ClientProxyConnectionError):
    """A SOCKS proxy requires a user name and password, or different ones."""


def retry_after_s(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), at most an hour; None without one."""
    value = answer.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _LONGEST_RETRY_S)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(answer.headers.get("Date", ""))
    except _NO_DATE:
        return _DEFAULT_RETRY_S
    return min(max(wait.total_seconds(), 0.0), _LONGEST_RETRY_S)


def exhausted_s(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds until the server's limit resets, if this answer was the last that it allows; None while it allows more.

    `X-RateLimit-Remaining: 0` with `X-RateLimit-Reset` as seconds of the epoch (GitHub, Gitea, Bitbucket), the same
    without `X-` (GitLab: epoch), or as seconds from now (IETF draft).
    """
    headers = answer.headers
    for prefix in ("X-RateLimit-", "RateLimit-"):
        if headers.get(prefix + "Remaining", "").strip() != "0":
            continue
        reset = headers.get(prefix + "Reset", "").strip()
        if not reset.isascii() or not reset.isdigit():
            return _DEFAULT_RETRY_S
        seconds = float(reset[:12])
        if seconds > _EPOCH_FROM_S:
            try:
                seconds -= parsedate_to_datetime(headers.get("Date", "")).timestamp()
            except _NO_DATE:
                return _DEFAULT_RETRY_S
        return min(max(seconds, 0.0), _LONGEST_RETRY_S)
    return None


def check_answer(repository: Repository, answer: aiohttp.ClientResponse, content_type: str) -> None:
    """Let only a 200 of the right content type pass.

    Raises:
        GitAuthRequired: 401, or 407 of the source's own proxy.
        GitForbidden: 403.
        GitNotFound: 404 or 410.
        GitRateLimited: 429, or 403 or 503 with Retry-After or with nothing left of a limited rate.
        GitProgramFailed: 500 in git's own content type.
        GitUnreachable: Any other 5xx.
        GitUnsupported: A "dumb" HTTP server.
        GitProtocolError: Anything else, for example a login page.
    """
    status = answer.status
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if status != _OK:
        if status == _SERVER and kind == content_type:
            raise GitProgramFailed(f"{repository}: the server's git fails with HTTP {status}")
        refuse(repository, answer, status)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise GitProtocolError(f"{repository}: the server compresses a response although the request does not allow it")
    if kind == content_type:
        return
    if kind == "text/plain" or (not kind and content_type.endswith("advertisement")):
        raise GitUnsupported(
            f"{repository}: the server offers only git's old “dumb” HTTP protocol, which is not supported"
        )
    page = "a web page (perhaps a login page)" if kind == "text/html" else f"content of type {shown(kind) or 'unknown'}"
    raise GitProtocolError(
        f"{repository}: the server answers with {page}, not as a git server; check the URL and credential"
    )


def refuse(repository: Repository, answer: aiohttp.ClientResponse, status: int) -> NoReturn:
    """Raise what a status that is not 200 means; see `check_answer`."""
    wait_s = retry_after_s(answer)
    if wait_s is None:
        wait_s = exhausted_s(answer)
    if status == _TOO_MANY or (status in {_FORBIDDEN, _UNAVAILABLE} and wait_s is not None):
        wait_s = _DEFAULT_RETRY_S if wait_s is None else wait_s
        raise GitRateLimited(f"{repository}: the server throttles requests: wait {wait_s:.0f} s", retry_after_s=wait_s)
    if status == _UNAUTHORIZED:
        if repository.credential is None:
            raise GitAuthRequired(f"{repository}: the server wants a credential; give the source an authConfig")
        hint = _BARE if repository.credential.bare else "check the source's Secret"
        raise GitAuthRequired(f"{repository}: the server does not accept the credential; {hint}")
    if status == PROXY_UNAUTHORIZED and repository.proxy is not None:
        raise proxy_refused(repository, repository.proxy)
    if status == _FORBIDDEN:
        raise GitForbidden(f"{repository}: the credential may not read this repository")
    if status in {_NOT_FOUND, _GONE}:
        hint = "" if repository.credential else " (many servers return the same when a credential is required)"
        raise GitNotFound(f"{repository}: there is no such repository{hint}")
    if status >= _SERVER:
        raise GitUnreachable(f"{repository}: the server fails with HTTP {status}")
    secure = status == _BAD_REQUEST and repository.url.startswith("http://")
    hint = "; does it speak https there?" if secure else ""
    raise GitProtocolError(f"{repository}: the server answers with HTTP {status}{hint}")


def proxy_refused(repository: Repository, proxy: ProxyAccess) -> GitAuthRequired:
    """The error for a proxy of a source that does not accept our credential."""
    if proxy.username is None:
        problem = "wants a user name and password; name a Secret with them in spec.proxy.secretRef"
    else:
        problem = "does not accept the user name and password; check the Secret that spec.proxy.secretRef names"
    return GitAuthRequired(f"{repository}: the proxy in spec.proxy.url {problem}")


def follow(repository: Repository, url: URL, answer: aiohttp.ClientResponse, ending: str) -> URL:
    """The allowed target of a redirect: the same host and port over the same scheme, or over https instead of http.

    Raises:
        GitRedirectRefused: To another host or a worse scheme; the credential is not sent there.
        GitProtocolError: To a page that is not a git repository.
    """
    try:
        target = url.join(URL(answer.headers.get("Location", "")))
    except ValueError as error:
        raise GitProtocolError(f"{repository}: the server redirects to something that is no URL") from error
    place = shown(f"{target.scheme}://{target.host}:{target.port}") if target.host else "nowhere"
    upgraded = url.scheme == "http" and target.scheme == "https"
    same = target.scheme == url.scheme and target.port == url.port
    if target.host != url.host or target.user is not None or not (same or upgraded):
        raise GitRedirectRefused(
            f"{repository} redirects to {place}; put the final address into the source if you trust it"
        )
    if not target.raw_path.endswith(ending):
        raise GitProtocolError(
            f"{repository} redirects to a page that is no repository (a login page?); check the URL and credential"
        )
    return target
