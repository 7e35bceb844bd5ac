"""Responses of the webhook port: JSON with a status and a message, the same words for equal refusals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

NO_TRIGGER = "no such trigger or source"
MISSING = "the request has no signature or secret"
WRONG = "wrong signature or secret"
OLD = "the signature is too old, or of the future"
UNREADABLE = "the trigger's secret cannot be used"
AWAY = "the trigger's secret cannot be read now; send it again"
REFUSED = "the namespace cannot be read now; send it again"
INVALID = "the trigger is not valid; see its conditions"
UNIFORM = "no such trigger, or the request is not authenticated for it"
PING = "ignored: a ping"
ACCEPTED = "job has been scheduled"
SUSPENDED = "recorded; the trigger is suspended, its sources are checked when it is resumed"
RECORDED = "recorded; its sources will be checked, and a Job runs if one has changed"
DUPLICATE = "duplicate: this delivery was accepted before"


class HttpError(Exception):
    """A request that is not accepted; `close`: its body was not read to the end."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after_s: float | None = None,
        close: bool = False,
        allow: str | None = None,
    ) -> None:
        self.status = status
        self.allow = allow
        self.message = message
        self.retry_after_s = retry_after_s
        self.close = close
        super().__init__(message)

    def response(self) -> Response:
        """The response."""
        headers: dict[str, str] = (
            {} if self.retry_after_s is None else {"Retry-After": str(max(math.ceil(self.retry_after_s), 1))}
        )
        if self.close:
            headers["Connection"] = "close"
        if self.allow:
            headers["Allow"] = self.allow
        body = {"status": "error", "message": self.message}
        return JSONResponse(body, status_code=self.status, headers=headers)


class Unproven(HttpError):
    """A request that does not authenticate for a trigger, or names none that exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """The result of a delivery to one trigger: accepted (202), duplicate or ignored (200)."""

    status: int
    message: str
    task: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The first of the sources, for the log."""
        return ",".join(self.sources[:10])

    def response(self, **more: Any) -> Response:
        """The response."""
        task: Mapping[str, Any] = {} if self.task is None else {"task_id": self.task}
        if self.message == ACCEPTED:  # its explanation; other messages explain themselves
            more = {"detail": RECORDED} | more
        return JSONResponse({"status": "ok", "message": self.message, **task, **more}, status_code=self.status)
