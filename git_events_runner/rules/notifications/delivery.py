"""What happened to the message of a Notifier about a run, for users: sent, waits, refused, or why none is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from git_events_runner.rules.derived_conditions import conditions_of

from .commit_status import serves
from .marks import is_reported
from .report import RECOVERED, SUCCEEDED


class Outcome(StrEnum):
    """What happened to a message."""

    SENT = "sent"
    WAITS = "waits"
    REFUSED = "refused"
    NONE = "not sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The outcome, the cause in words, and what to do."""

    outcome: Outcome
    why: str = ""
    remedy: str = ""


def delivery_of(
    spec: Any, state: str, mark: str | None, *, generation: int, uri: str | None, status: Mapping[str, Any] | None
) -> Delivery:
    """What happened to the message about a run.

    Args:
        spec: The spec of the Notifier.
        state: The state of the run.
        mark: What its Job records of the Notifier.
        generation: The generation of the Notifier.
        uri: The repository, where it is known.
        status: The status of the Notifier.
    """
    reason, message = not_ready(status)
    succeeded = state == SUCCEEDED and RECOVERED in spec.reported
    if mark == state or (succeeded and mark == RECOVERED):
        return Delivery(outcome=Outcome.SENT)
    if is_reported(mark, state, generation):
        why = message or "see the condition Ready of the Notifier"
        return Delivery(outcome=Outcome.REFUSED, why=why, remedy="change the Notifier, then it is sent again")
    if state not in spec.reported and not succeeded:
        return Delivery(outcome=Outcome.NONE, why=f"its events are {', '.join(spec.reported)}")
    if spec.commit_status is not None and uri is not None and not serves(spec.commit_status, uri):
        remedy = "list the host in commitStatus.hosts if it is the same forge"
        return Delivery(outcome=Outcome.NONE, why=f"{uri} is not at {spec.commit_status.forge}", remedy=remedy)
    if state not in spec.reported:
        return Delivery(outcome=Outcome.NONE, why="a success is sent only if it is the first one after a failure")
    if message:
        return Delivery(outcome=Outcome.WAITS, why=f"{reason}: {message}")
    remedy = "the leader sends it within seconds; runs that ended before the Notifier was created are not sent"
    return Delivery(outcome=Outcome.WAITS, why="it is not sent yet", remedy=remedy)


def not_ready(status: Mapping[str, Any] | None) -> tuple[str, str]:
    """Reason and message of a Notifier whose last message was not accepted; empty for others."""
    ready = conditions_of(status).get("Ready") or {}
    if ready.get("status") != "False":
        return "", ""
    return str(ready.get("reason") or ""), str(ready.get("message") or "")
