"""Data of the page in addition to the store's objects; each fact is None where this process does not know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from git_events_runner.concurrency.bounded_dict import BoundedDict

_KEPT_EACH = 5
_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The observations of one git server since the start of this process."""

    host: str
    requests: int = 0
    failures: int = 0
    last_at: datetime | None = None
    last_problem: str = ""
    problem_at: datetime | None = None
    backs_off_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of one moment.

    `leader` is empty while no replica is the leader. `slots` is the limit of running Jobs, `share` that of one
    namespace (0: automatic). `unreadable` has a line for each namespace that cannot be read.
    """

    version: str
    replica: str | None = None
    leader: str | None = None
    slots: int | None = None
    share: int | None = None
    hosts: Sequence[HostFacts] | None = None
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How checks of one source ended: the last one, and since when and how often all have ended so.

    `until` is when it is checked again, where that is planned.
    """

    result: str
    at: datetime
    since: datetime
    count: int = 1
    commit: str = ""
    why: str = ""
    until: datetime | None = None


class Decisions:
    """The last decisions of each source that this replica has checked, in memory and bounded."""

    def __init__(self) -> None:
        self._kept: BoundedDict[tuple[str, str], tuple[Decision, ...]] = BoundedDict(_KEPT)

    def note(self, trigger_uid: str, source: str, decision: Decision) -> None:
        """A check has ended; one with the same result as the one before is added to it."""
        key = (trigger_uid, source)
        known = self._kept.pop(key, ())
        if known and (known[0].result, known[0].commit, known[0].why) == (
            decision.result,
            decision.commit,
            decision.why,
        ):
            decision = replace(decision, since=known[0].since, count=known[0].count + 1)
            known = known[1:]
        self._kept[key] = (decision, *known)[:_KEPT_EACH]

    def of(self, trigger_uid: str, source: str) -> tuple[Decision, ...]:
        """The decisions about a source, the latest first; none: this replica has not checked it."""
        return self._kept.get((trigger_uid, source), ())
