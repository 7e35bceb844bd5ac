"""Why a run has to wait, and until when: windows, a quiet time after the last move (debounce), a time between starts.

A wait handles nothing: the requests stay open, and the later check, with a new request to git, handles the scheduled
time. The source's entry has what must survive a restart: `waiting` has the commit, when the reference moved first and
last, and until when it waits; `lastStart` is the start of the last run (tests/model/waiting.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.job import JobView
from git_events_runner.rules.ledger.entry import Entry, entry_of
from git_events_runner.rules.ledger.mutations import Guards, Outcome, draft, rfc3339
from git_events_runner.rules.ledger.stored_times import stored_time
from git_events_runner.rules.schedule.intervals import parse_interval

from .check_result import CheckResult
from .windows import Window, Windows, parse_windows

CONDITION = "Waiting"
REASONS = {
    CheckResult.WAIT_WINDOW: "OutsideWindows",
    CheckResult.WAIT_COOLDOWN: "Cooldown",
    CheckResult.WAIT_DEBOUNCE: "Debounce",
}
_TEXTS = {
    "OutsideWindows": "outside the windows (spec.windows), which open at",
    "Cooldown": "the last run started less than spec.cooldown ago; the next one starts at",
    "Debounce": "the reference moved less than spec.debounce.quiet ago; it runs at",
}
_SECOND = timedelta(seconds=1)
_FAR = datetime.max.replace(tzinfo=UTC)
_AGAIN = timedelta(days=1)  # where no window opens any more: the installation's windows may have changed by then
_MOST_QUIETS = 10
_SHOWN = 10
_COMMIT_CHARS = 12


class WaitSpec(Protocol):
    """The fields of a trigger's spec that make changes wait."""

    @property
    def windows(self) -> Any:
        """When runs may start."""

    @property
    def debounce(self) -> Any:
        """How long the reference must not have moved."""

    @property
    def cooldown(self) -> str | None:
        """The least time between the starts of two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitPolicy:
    """What makes changes of a trigger wait."""

    windows: Windows | None = None
    quiet: timedelta | None = None
    longest: timedelta | None = None
    cooldown: timedelta | None = None

    @classmethod
    def of(cls, spec: WaitSpec, everywhere: tuple[Window, ...]) -> WaitPolicy | None:
        """Read a spec; None: nothing waits. `everywhere` are the windows of the installation.

        Raises:
            InvalidObject: A window or a time cannot be read.
        """
        groups = tuple(group for group in (parse_windows(spec.windows, "spec.windows"), everywhere) if group)
        if not groups and spec.debounce is None and spec.cooldown is None:
            return None
        quiet = longest = None
        if spec.debounce is not None:
            quiet = _length(spec.debounce.quiet, "spec.debounce.quiet")
            longest = _length(spec.debounce.max, "spec.debounce.max") if spec.debounce.max else quiet * _MOST_QUIETS
            if longest < quiet:
                raise InvalidObject("spec.debounce.max", f"is shorter than quiet ({spec.debounce.quiet})")
        return cls(
            windows=Windows(groups) if groups else None,
            quiet=quiet,
            longest=longest,
            cooldown=_length(spec.cooldown, "spec.cooldown") if spec.cooldown else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A change waits: its commit, when the reference moved first and last, until when it waits, and why.

    `until` is None if that is not known: no window opens any more, or the last run has not started yet. A time counted
    from now would be another one at each check, and each would write it.
    """

    source: str
    expected: tuple[int, str | None]
    reason: str
    commit: str
    since: str
    moved: str
    until: str | None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record it, unless a run or another commit was recorded meanwhile (the model's `hold_tests`)."""
        if entry_of(status, self.source).key != self.expected:
            return Outcome.STALE
        wanted = {"reason": self.reason, "commit": self.commit, "since": self.since, "moved": self.moved}
        if self.until is not None:
            wanted["until"] = self.until
        if waiting_of(status, self.source) == wanted:
            return Outcome.DONE
        draft(status, self.source, adopt=False)["waiting"] = wanted
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the source."""
        return Guards(ledger=frozenset({self.source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Nothing of a source waits any more."""

    source: str

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Remove what is recorded of the wait."""
        if not waiting_of(status, self.source):
            return Outcome.DONE
        del status["checkedSources"][self.source]["waiting"]
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the source."""
        return Guards(ledger=frozenset({self.source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowWaiting:
    """The condition `Waiting`, derived from the entries: present only while a source waits."""

    generation: int
    now: str
    suspended: bool = False

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Set or remove it; the transition time moves only with its presence."""
        listed = status.get("conditions")
        conditions = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
        before = next((c for c in conditions if c.get("type") == CONDITION), None)
        after = None if self.suspended else self._condition(status, before)
        if after == before:
            return Outcome.DONE
        kept = [c for c in conditions if c.get("type") != CONDITION]
        status["conditions"] = sorted([*kept, *([after] if after else [])], key=lambda c: str(c.get("type")))
        return Outcome.WRITE

    def _condition(self, status: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any] | None:
        waits = waits_of(status)
        if not waits:
            return None
        lines = [f"source {name}: {line_of(waiting)}" for name, waiting in list(waits.items())[:_SHOWN]]
        if len(waits) > _SHOWN:
            lines.append(f"and {len(waits) - _SHOWN} more sources")
        first = min(waits.values(), key=lambda waiting: str(waiting.get("until") or "~"))
        return {
            "type": CONDITION,
            "status": "True",
            "reason": str(first.get("reason") or "Waiting"),
            "message": "\n".join(lines),
            "observedGeneration": self.generation,
            "lastTransitionTime": (before or {}).get("lastTransitionTime") or self.now,
        }

    def guards(self) -> Guards:
        """The conditions."""
        return Guards(conditions=True)


def waiting_of(status: Mapping[str, Any] | None, source: str) -> Mapping[str, Any]:
    """The record of a change that waits, in the entry of a source; empty: none does."""
    entries = (status or {}).get("checkedSources")
    entry = entries.get(source) if isinstance(entries, Mapping) else None
    waiting = entry.get("waiting") if isinstance(entry, Mapping) else None
    return waiting if isinstance(waiting, Mapping) else {}


def waits_of(status: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The same of every entry of which a change waits, by name."""
    entries = (status or {}).get("checkedSources")
    names = sorted(entries) if isinstance(entries, Mapping) else ()
    return {name: found for name in names if (found := waiting_of(status, name))}


def is_shown(status: Mapping[str, Any] | None) -> bool:
    """Whether the condition `Waiting` is there."""
    listed = (status or {}).get("conditions")
    return isinstance(listed, list) and any(isinstance(c, Mapping) and c.get("type") == CONDITION for c in listed)


def hold_of(
    entry: Entry,
    policy: WaitPolicy,
    *,
    commit: str,
    source: str,
    now: datetime,
    closed_until: datetime | None,
    last_start: datetime | None,
    unseen_s: float | None,
) -> tuple[CheckResult, datetime, Hold] | None:
    """Why a run of that commit has to wait, until when, and what is recorded of it; None: it may start.

    `closed_until`: when runs may start again; `last_start`: when the last run started or, if it waits for a slot, now.
    `unseen_s`: after this time a new request to git is sent for an announced commit, so the reference still moves.
    """
    waiting, moved_now = entry.waiting, _ceil(now)
    since = stored_time(waiting.since, now) if waiting else None
    moved = stored_time(waiting.moved, now) if waiting and waiting.commit == commit else None
    since, moved = since or moved_now, moved or moved_now
    times: dict[CheckResult, datetime] = {}
    if policy.quiet is not None and policy.longest is not None and entry.commit not in {None, commit}:
        quiet_at = moved + policy.quiet
        if unseen_s is not None:
            quiet_at = max(quiet_at, now + timedelta(seconds=unseen_s))
        times[CheckResult.WAIT_DEBOUNCE] = min(quiet_at, since + policy.longest)
    not_started = last_start is not None and last_start >= now
    if policy.cooldown is not None and last_start is not None:
        times[CheckResult.WAIT_COOLDOWN] = cooldown_ends(last_start, policy.cooldown)
    if closed_until is not None:
        times[CheckResult.WAIT_WINDOW] = closed_until
    late = {result: until for result, until in times.items() if until > now}
    if not late:
        return None
    result, until = max(late.items(), key=lambda item: item[1])
    hold = Hold(
        source=source,
        expected=entry.key,
        reason=REASONS[result],
        commit=commit,
        since=rfc3339(since),
        moved=rfc3339(moved),
        until=None if until == _FAR or (result is CheckResult.WAIT_COOLDOWN and not_started) else rfc3339(until),
    )
    return result, min(until, now + _AGAIN) if until == _FAR else until, hold


def last_start(entry: Entry, job: JobView | None, now: datetime) -> datetime | None:
    """When the last run started: its Job was created, or got its slot; now, if it still waits for one.

    A run that did not start, and is tried again, counts from its creation: its next attempts would otherwise delay the
    next run forever.
    """
    created = stored_time(entry.last_start, now)
    if job is not None and job.suspensions.requeues and not job.pod_started:
        return created
    if job is None or job.finished or job.started_at is not None or not (job.suspended or job.resumed):
        started = job.started_at if job is not None else None
        return max(filter(None, (created, started)), default=None)
    return now


def starts_any_time(job: JobView) -> bool:
    """Whether a waiting Job may start outside its trigger's windows, as its run may: a person requested it."""
    return job.reason in {CheckResult.FIRE_REQUESTED, CheckResult.FIRE_DELETED}


def cooldown_ends(started: datetime, cooldown: timedelta) -> datetime:
    """When the next run may start: the recorded start is cut to the second."""
    return started + _SECOND + cooldown


def closed_until(windows: Windows, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When runs may start again (None: now), and until when that holds (None: without limit)."""
    opening = windows.opening(now)
    if opening.is_open:
        return None, opening.until
    opens = windows.opens_at(now)
    return opens or _FAR, opens


def line_of(waiting: Mapping[str, Any]) -> str:
    """What waits, why and until when, in one line; `waiting` as `waiting_of` returns it."""
    commit, until = str(waiting.get("commit") or "")[:_COMMIT_CHARS], waiting.get("until")
    if until is None and waiting.get("reason") == REASONS[CheckResult.WAIT_COOLDOWN]:
        return f"commit {commit} waits: the last run has not started yet, and spec.cooldown counts from its start"
    if until is None:
        return f"commit {commit} waits: no window opens any more (spec.windows)"
    return f"commit {commit} waits: {_TEXTS.get(str(waiting.get('reason')), 'until')} {until}"


def _length(text: str, field: str) -> timedelta:
    try:
        return timedelta(milliseconds=parse_interval(text))
    except InvalidObject as error:
        raise InvalidObject(field, error.problem) from None


def _ceil(moment: datetime) -> datetime:
    """The next full second: a status has no fractions, and a truncated time would end a wait too early."""
    full_second = moment.astimezone(UTC).replace(microsecond=0)
    return full_second if full_second == moment else full_second + _SECOND
