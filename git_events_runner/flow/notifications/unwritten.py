"""The log event of a status that could not be written."""

from __future__ import annotations

import structlog

from git_events_runner.errors import ApiError
from git_events_runner.resources.ref import Ref

log = structlog.get_logger(target="notifications")


def log_unwritten(ref: Ref, error: ApiError) -> None:
    """Log why the status of an object was not written."""
    log.warning(
        "status.failed",
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        error=str(error),
        reason=error.reason,
    )
