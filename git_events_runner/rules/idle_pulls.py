"""Pull requests that count as closed because nothing was delivered of them for long, and those that fill the limit.

The delivery of a closing may be lost, and git shows closed pull requests as before: without this their preview
environments would stay (`idle_closes`, `idle_tests` in tests/model/pulls.py). The next delivery opens one again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from git_events_runner.errors import InvalidObject

from .ledger.entry import Entry, entry_of
from .ledger.mutations import Guards, Outcome, draft
from .ledger.report import Warn
from .ledger.stored_times import stored_time
from .problems import warning_of
from .pull_requests import FIELD
from .reference_entries import keys_of
from .references import Watched, full_name_of, is_pull
from .schedule.intervals import parse_interval

CLOSE_AFTER = "spec.sources.watchOn.references.pullRequests.closeAfter"
FULL = "TooManyPullRequests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The pull requests to close now, each with the number of its requests, and in which times others will be idle."""

    keys: Mapping[str, int]
    delays: tuple[timedelta, ...] = ()

    @property
    def mutations(self) -> list[CloseIdle]:
        """What closes them."""
        return [CloseIdle(keys=self.keys)] if self.keys else []


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseIdle:
    """Record that these are closed, each as a request, if no delivery came meanwhile (`idle_tests` in the model)."""

    keys: Mapping[str, int]

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Close those that are as they were read."""
        outcome = Outcome.DONE
        for key, requested in self.keys.items():
            before = entry_of(status, key)
            if before.pull is None or before.pull.closed or before.requested != requested:
                continue
            entry = draft(status, key)
            entry[FIELD] = replace(before.pull, closed=True).as_json
            entry["requested"] += 1
            outcome = Outcome.WRITE
        return outcome

    def guards(self) -> Guards:
        """`requested` of each."""
        return Guards(counted=frozenset(self.keys))


def close_after(references: Any) -> timedelta | None:
    """After which time without a delivery a pull request counts as closed; None: never.

    Raises:
        InvalidObject: It cannot be read.
    """
    pulls = references.pull_requests if references is not None else None
    if pulls is None or pulls.close_after is None:
        return None
    try:
        return timedelta(milliseconds=parse_interval(pulls.close_after))
    except InvalidObject as error:
        raise InvalidObject(CLOSE_AFTER, error.problem) from None


def idle_of(status: Mapping[str, Any], names: Iterable[str], references: Any, now: datetime) -> Idle:
    """Which open pull requests of these sources nothing was delivered of for long."""
    try:
        after = close_after(references)
    except InvalidObject:
        after = None
    if after is None:
        return Idle(keys={})
    watched = Watched.of(references)
    found: dict[str, int] = {}
    left: list[timedelta] = []
    for name in names:
        for key in filter(is_pull, keys_of(status, name)):
            entry = entry_of(status, key)
            at = _last(entry, now)
            if entry.pull is None or entry.pull.closed or at is None or not watched.selects(full_name_of(key)):
                continue
            if now - at >= after:
                found[key] = entry.requested
            else:
                left.append(after - (now - at))
    return Idle(keys=found, delays=tuple(left))


def _last(entry: Entry, now: datetime) -> datetime | None:
    """When the last delivery of a pull request was recorded."""
    return stored_time(entry.announced.at if entry.announced else entry.changed, now)


def full_warnings(status: Mapping[str, Any], names: Iterable[str], references: Any) -> list[Warn]:
    """For each source whose open pull requests fill the limit the warning, and the end of an earlier one."""
    watched = Watched.of(references) if references is not None else None
    found: list[Warn] = []
    for name in names:
        message = _full(status, name, watched) if watched is not None and watched.pulls else None
        if message is not None or warning_of(status, FULL, name) is not None:
            found.append(Warn(reason=FULL, source=name, message=message))
    return found


def _full(status: Mapping[str, Any], name: str, watched: Watched) -> str | None:
    pulls = [key for key in keys_of(status, name) if is_pull(key)]
    if len(pulls) < watched.limit:
        return None
    opened = sum((found := entry_of(status, key).pull) is not None and not found.closed for key in pulls)
    if opened < watched.limit:
        return None
    return (
        f"{watched.limit} open pull requests have an entry, which is watchOn.references.limit: with the next one, that "
        "which moved longest ago loses its entry, and its closing is not noticed; raise limit, or set "
        "pullRequests.closeAfter if some of them are closed"
    )
