"""What is reported of a trigger's problems: when its condition Ready becomes false, and when it is true again.

A problem is reported when it has lasted a minute, or has another reason than the one that was reported; the same
reason once an hour at most. What a receiver knows is recorded in the trigger's status (`notified`), so that a crash
loses nothing and repeats one message at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.notified import NOTIFIED_MAX
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.derived_conditions import conditions_of
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.problems import source_problems
from git_events_runner.rules.references import source_of

PROBLEM, PROBLEM_SOLVED = "Problem", "ProblemSolved"
LASTS = timedelta(minutes=1)
AGAIN = timedelta(hours=1)
_SOURCES = 3
NOTIFIED = "notified"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemReport:
    """A problem of a trigger as it is reported; `since` is when it began, or when a solved one was reported."""

    state: str
    trigger: Ref
    trigger_uid: str
    reason: str
    message: str
    since: datetime

    @property
    def about(self) -> str:
        """What it is about, in the log."""
        return self.trigger.name

    @property
    def key(self) -> str:
        """What a later report of the same trigger replaces while it waits."""
        return self.trigger_uid

    @property
    def identity(self) -> str:
        """The same for a message that is sent again."""
        return f"{self.trigger_uid}/{self.state}/{self.reason}/{rfc3339(self.since)}"


def problem_due(
    trigger: Ref,
    uid: str,
    status: Mapping[str, Any] | None,
    notifier: str,
    *,
    generation: int,
    created_at: datetime | None,
    now: datetime,
) -> ProblemReport | None:
    """The message about a trigger's problem that a Notifier's receiver needs now.

    Args:
        trigger: The trigger.
        uid: Its uid.
        status: Its status.
        notifier: The uid of the Notifier.
        generation: Its generation: what was refused for another one is sent again.
        created_at: When it was created: problems that were there before are not reported.
        now: The time.
    """
    ready = conditions_of(status).get("Ready") or {}
    known = [one for one in notified_of(status) if one["notifier"] == notifier]
    reported = next((one for one in known if one.get("open")), None)
    reason, changed_at = str(ready.get("reason") or ""), timestamp(ready.get("lastTransitionTime"))
    if ready.get("status") == "True":
        since = timestamp(reported.get("at")) if reported is not None else None
        if reported is None or since is None:
            return None
        reason = str(reported["reason"])
        return ProblemReport(
            state=PROBLEM_SOLVED, trigger=trigger, trigger_uid=uid, reason=reason, message="", since=since
        )
    if ready.get("status") != "False" or not reason or changed_at is None:
        return None
    last = next((one for one in known if one["reason"] == reason), None)
    if reported is None and now - changed_at < LASTS:
        return None
    if created_at is not None and changed_at < created_at:
        return None
    if last is not None and not _again(last, generation, now):
        return None
    message = _meaning(reason, status)
    return ProblemReport(
        state=PROBLEM, trigger=trigger, trigger_uid=uid, reason=reason, message=message, since=changed_at
    )


def notified_of(status: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What receivers know, by Notifier and reason; what is not readable is left out."""
    found = (status or {}).get(NOTIFIED)
    return [
        dict(one)
        for one in (found if isinstance(found, list) else [])[:NOTIFIED_MAX]
        if isinstance(one, Mapping) and isinstance(one.get("notifier"), str) and isinstance(one.get("reason"), str)
    ]


def notified_after(
    status: Mapping[str, Any] | None,
    report: ProblemReport,
    notifier: str,
    *,
    notifiers: Iterable[str],
    refused: int | None,
    now: datetime,
) -> list[dict[str, Any]]:
    """What receivers know after a message; entries that no decision needs any more are left out.

    Args:
        status: The trigger's status before.
        report: The message.
        notifier: The uid of its Notifier.
        notifiers: The uids of all Notifiers.
        refused: The generation of the Notifier, if the receiver refused the message permanently.
        now: The time.
    """
    present = set(notifiers)
    after = []
    for one in notified_of(status):
        own = one["notifier"] == notifier
        if own and one["reason"] == report.reason and report.state == PROBLEM:
            continue
        entry = {**one, "open": False} if own else one
        at = timestamp(entry.get("at"))
        if entry["notifier"] in present and (entry.get("open") or (at is not None and now - at < AGAIN)):
            after.append(entry)
    if report.state == PROBLEM:
        entry = {"notifier": notifier, "reason": report.reason, "at": rfc3339(now), "open": True}
        after.append(entry if refused is None else {**entry, "refused": refused})
    return after[-NOTIFIED_MAX:]


def _meaning(reason: str, status: Mapping[str, Any] | None) -> str:
    """What a reason means, with the sources: the condition's own message may name branches, and texts of others."""
    sources = sorted({source_of(key) for key, one in source_problems(status).items() if one.reason == reason})
    more = f" and {len(sources) - _SOURCES} more" if len(sources) > _SOURCES else ""
    meaning = next((str(one.meaning) for one in Reason if one == reason), "")
    return ": ".join(part for part in (", ".join(sources[:_SOURCES]) + more, meaning) if part)


def _again(last: Mapping[str, Any], generation: int, now: datetime) -> bool:
    """Whether a problem that was reported is to be reported again."""
    refused = last.get("refused")
    if refused is not None:
        return bool(refused != generation)
    at = timestamp(last.get("at"))
    return not last.get("open") and (at is None or now - at >= AGAIN)
