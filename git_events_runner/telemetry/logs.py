"""Logs: structlog on standard output, filtered by level and target (docs/logs.md lists every event)."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO, cast

import orjson
import structlog

from git_events_runner.errors import ConfigError

LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "off": 60}
_ROLES = ("trigger_kind", "trigger_name", "source_kind", "source_name", "action_kind", "action_name")


def parse_filter(text: str) -> tuple[int, dict[str, int]]:
    """The default level and the levels of single targets, from `level` and `target=level` in a comma-separated list.

    >>> parse_filter("info,checks=debug")
    (20, {'checks': 10})

    Raises:
        ConfigError: A level is none of trace, debug, info, warn, error, off.
    """
    default, targets, problems = LEVELS["info"], {}, []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        target, found, level = part.rpartition("=")
        number = LEVELS.get(level.lower())
        if number is None:
            if re.fullmatch(r"[\w:]+", part):
                targets[part.rpartition("::")[2]] = LEVELS["trace"]  # a bare target, as in RUST_LOG
            else:
                problems.append(f"log filter: {part!r} has no level; use one of {', '.join(LEVELS)}")
        elif found:
            targets[target.rpartition("::")[2]] = number
        else:
            default = number
    if problems:
        raise ConfigError(*problems)
    return default, targets


def configure_logging(
    filter_text: str,
    *,
    json: bool,
    color: bool = False,
    spans: Callable[..., Any] | None = None,
    stream: io.TextIOBase | None = None,
) -> None:
    """Set up structlog and the standard library's logging for this process; logs go to `stream`, or standard output.

    `spans` is a processor that sees every event down to debug, also those that the filter drops (`traces`).

    Raises:
        ConfigError: The filter cannot be read.
    """
    default, targets = parse_filter(filter_text)
    lowest = min([default, *targets.values(), *([LEVELS["debug"]] if spans else [])])

    def drop_unwanted(_: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if (targets or spans) and LEVELS.get(method, 40) < targets.get(str(event.get("target")), default):
            raise structlog.DropEvent
        return event

    renderer: Callable[..., Any]
    if json:
        renderer = structlog.processors.JSONRenderer(
            serializer=lambda value, **_: orjson.dumps(value, default=str).decode()
        )
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=color,
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # others print local variables
        )
    structlog.configure(
        processors=[
            *([spans] if spans else []),
            drop_unwanted,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(max(lowest, 0)),
        logger_factory=_targets(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it has a line for everything that is no HTTP
    logging.basicConfig(level=max(default, logging.WARNING), handlers=[handler], force=True)


def _unchanged(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


def _targets(stream: io.TextIOBase | None) -> Callable[..., Any]:
    def make(*_: object) -> structlog.WriteLogger:
        return structlog.WriteLogger(cast("TextIO", stream or sys.stdout))

    return make
