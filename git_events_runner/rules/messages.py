"""Messages between the modules of flow: frozen values, forward only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Protocol

from git_events_runner.resources.job import timestamp
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.retry import Attempt
from git_events_runner.rules.ledger.entry import Entry

from .resolve import Resolved

_TASKS_KEPT = 64


class Fence(Protocol):
    """Leadership as a value: passed to what it guards."""

    def check(self) -> None:
        """Raise FenceLost when this replica may no longer act as the leader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """Check one source of one trigger; `due_at` (RFC 3339) is the schedule's occurrence, None: recorded requests.

    `retry`: this was tried before, so no sender has just reported a change of the source. `scheduled` is `due_at` with
    its fraction, which no record keeps. `polls`: only scheduled times caused it, no delivery. `listed`: the list of its
    source's references shows that this one differs, or was requested though nothing is recorded.
    """

    trigger: Ref
    uid: str
    source: str
    due_at: str | None
    fence: Fence | None
    tasks: tuple[str, ...] = ()
    retry: bool = False
    scheduled: datetime | None = None
    polls: bool = False
    listed: bool = False

    @property
    def called(self) -> bool:
        """Whether pushes are delivered to the trigger."""
        return self.trigger.kind == "WebhookTrigger"

    def merge(self, newer: CheckRequest) -> CheckRequest:
        """Both as one: a check after the newer handles the older too. What is leader work in one stays fenced.

        `newer` was submitted later; its scheduled time may still be the earlier one, when a check is submitted again.
        """
        tasks = (*self.tasks, *(task for task in newer.tasks if task not in self.tasks))
        retry = self.retry and newer.retry
        due, other = (self, newer) if _is_due_later(self, newer) else (newer, self)
        return replace(
            newer,
            due_at=due.due_at,
            scheduled=due.scheduled,
            fence=due.fence or other.fence,
            tasks=tasks[-_TASKS_KEPT:],
            retry=retry,
            polls=self.polls and newer.polls,
            listed=self.listed or newer.listed,
        )


def _is_due_later(one: CheckRequest, other: CheckRequest) -> bool:
    """Whether the scheduled time of `one` is after that of `other`, which may have none."""
    mine, others = timestamp(one.due_at), timestamp(other.due_at)
    return mine is not None and (others is None or mine > others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """What the response to another check's request must show to answer this check, too.

    It was sent at or after `since`, and shows `commit`, which is recorded already.
    """

    since: datetime
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """A check that did not end: check again after `after_s` seconds (None: by growing back-off).

    `failed`: it counts for the back-off and against `limit_s`, after which another replica takes over. `until`: a
    change waits until that time.
    """

    after_s: float | None = None
    limit_s: float | None = None
    failed: bool = True
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOf:
    """The attempt that a retry is, and the commit before the one that runs, as the failed run had it."""

    attempt: Attempt
    previous_commit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """A decision to run: everything from which the Job is built, and what must still hold when it is created.

    `sent_at` is the loop's time just before the request to git. `request` or `due_at` is the occurrence; `tasks` and
    `deliveries` (hashes) identify the requests that it handles. `run_request` and `run_token` are those of a requested
    run. `author` and `subject` are the commit's, where they are known.
    """

    trigger: Ref
    uid: str
    generation: int
    entry: Entry
    source: str
    resolved: Resolved
    commit: str
    file_hash: str | None
    reason: str
    request: int | None
    due_at: str | None
    sent_at: float
    tasks: tuple[str, ...]
    deliveries: str
    fence: Fence | None
    run_request: int | None = None
    run_token: str | None = None
    retry: RetryOf | None = None
    author: str | None = None
    subject: str | None = None

    @property
    def occurrence(self) -> str:
        """What the Job handles: a scheduled time, or the requests up to a number; a retry handles nothing."""
        return "" if self.retry is not None else self.due_at or str(self.request or 0)

    @property
    def previous_commit(self) -> str | None:
        """The commit before the one that runs."""
        return self.retry.previous_commit if self.retry is not None else self.entry.commit


class RunResult(Enum):
    """How an order ended: its run is recorded; something changed, check again; or there is nothing to run for."""

    SETTLED = "settled"
    RESTART = "restart"
    DROPPED = "dropped"
