"""Answers of the API server: bodies within bounds, and the error for a refusal."""

from __future__ import annotations

import aiohttp
import orjson

from git_events_runner.errors import (
    ApiAlreadyExists,
    ApiConflict,
    ApiError,
    ApiForbidden,
    ApiGone,
    ApiInvalid,
    ApiNotFound,
    ApiTooManyRequests,
    ApiUnauthorized,
    ApiUnavailable,
)

ERROR_BYTES = 64 * 1024
_BY_STATUS: dict[int, type[ApiError]] = {
    400: ApiInvalid,
    401: ApiUnauthorized,
    403: ApiForbidden,
    404: ApiNotFound,
    410: ApiGone,
    422: ApiInvalid,
    429: ApiTooManyRequests,
}


class PageTooLargeError(Exception):
    """An answer has more bytes than allowed."""


async def read_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body; the connection is closed when it is too large."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()
            raise PageTooLargeError
    return bytes(body)


def cause_of(error: BaseException) -> str:
    """The message of a library's error, or its class."""
    return str(error) or type(error).__name__


def refusal_of(what: str, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    """The error for an answer; its Status object has the reason."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    reason = str(status.get("reason") or "")
    details = status.get("details") if isinstance(status.get("details"), dict) else {}
    causes = tuple(str(c.get("reason")) for c in (details or {}).get("causes") or () if isinstance(c, dict))
    message = f"{what}: {status.get('message') or response.reason or 'refused'} (HTTP {response.status})"
    kind = _BY_STATUS.get(response.status)
    if response.status == 409:  # noqa: PLR2004  HTTP
        kind = ApiAlreadyExists if reason == "AlreadyExists" else ApiConflict
    if kind is None:
        kind = ApiUnavailable if response.status >= 500 else ApiError  # noqa: PLR2004  HTTP
    error = kind(message, status=response.status, reason=reason, causes=causes)
    if isinstance(error, ApiTooManyRequests):
        after = response.headers.get("Retry-After", "")
        error.retry_after_s = min(float(after), 60.0) if after.isascii() and after.isdigit() else 1.0
    return error
