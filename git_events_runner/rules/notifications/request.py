"""A message as an HTTP request, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_OK, _MOVED, _CLIENT, _FORBIDDEN, _SERVER = 200, 300, 400, 403, 500
_LATER = frozenset((408, 409, 425, 429))  # 409 of GitLab: another request changes the commit's statuses
_LONGEST_WAIT_S = 3600.0
_ADVICE = {
    400: "check commitStatus.forge and apiUrl, or address",
    401: "the token is not accepted: renew it in the Secret",
    403: "the token lacks the right to do this: give it the scope that docs/notifications.md names",
    404: "nothing is there, or the token may not see it: check apiUrl or address, and the rights of the token",
    410: "the receiver exists no more: change the address",
    413: "the receiver accepts no messages of this size",
    422: "the receiver does not accept the values: does the commit exist at the forge?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A POST; its headers may contain a credential and are never shown."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver has the message; `simulated`: it was shown instead."""

    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The receiver will not accept this message however often it is sent; `message` has what to do."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The message is to be sent again: after `after_s`, if the receiver names a time."""

    message: str
    after_s: float | None = None
    reason: str | None = None  # of a condition, if something has to be changed first


Verdict = Accepted | Refused | Retry


def verdict_of(status: int, *, retry_after_s: float | None = None, body: bytes = b"") -> Verdict:
    """What an answer means; its body appears in no message.

    Args:
        status: The HTTP status.
        retry_after_s: When the receiver accepts requests again, if it names a time.
        body: The beginning of the answer.

    >>> verdict_of(204)
    Accepted(simulated=False)
    >>> verdict_of(429, retry_after_s=7.0)
    Retry(message='HTTP status 429', after_s=7.0)
    """
    text = f"HTTP status {status}"
    if _OK <= status < _MOVED:
        return Accepted()
    if b"Cannot transition status" in body and status == _CLIENT:
        return Accepted()  # GitLab: the status has that state already, or a final one
    limited = status == _FORBIDDEN and retry_after_s is not None  # as GitHub's secondary limits
    if status >= _SERVER or status in _LATER or limited:
        wait_s = None if retry_after_s is None else min(retry_after_s, _LONGEST_WAIT_S)
        return Retry(message=text, after_s=wait_s)
    if status < _CLIENT:
        return Refused(message=f"{text}: redirects are not followed; write the final address")
    return Refused(message=f"{text}: {_ADVICE.get(status, 'check type and address')}")
