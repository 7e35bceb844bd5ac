"""The entries of references in a trigger's status: recorded at the first check, kept within the limit, pruned.

The entry of a reference is `checkedSources[key]` (`references.key_of`). That of its source has the data of all of them:
its requests and scheduled times, when they were first listed, the highest version that ran, and digests of the
references that have no entry of their own. A reference whose digest is not among them has moved, or is new.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from git_events_runner.resources.references import References
from git_events_runner.rules.ledger.entry import Entry, entry_of, stored_text
from git_events_runner.rules.ledger.mutations import Guards, Outcome, draft
from git_events_runner.rules.ledger.reserve import PRUNED_AFTER, last_times
from git_events_runner.rules.waiting import Waiting

from .references import MARK, Watched, full_name_of, is_pull, source_of

KNOWN_MOST = 4000
ALL = "*"
CONFIRM = timedelta(seconds=15)
_DIGEST_CHARS = 8
_REFERENCES = TypeAdapter(References)


def digest_of(key: str, commit: str) -> str:
    """Six bytes that identify a reference at a commit."""
    full = f"{key.partition(MARK)[2]}\0{commit}"
    return base64.urlsafe_b64encode(hashlib.sha256(full.encode("utf-8", "replace")).digest()[:6]).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the entry of a source records about its references.

    `known` are digests of those without an entry; None: of all others, which are too many to store.
    """

    at: str | None
    highest: str | None
    known: frozenset[str] | None
    commit: str | None

    @classmethod
    def of(cls, status: Mapping[str, Any] | None, source: str) -> Listed:
        """Read it; strange values read as absent."""
        entry = _entries(status).get(source)
        data = entry if isinstance(entry, Mapping) else {}
        at, highest, known = (data.get(name) for name in ("listedAt", "highestVersion", "knownReferences"))
        text = known if isinstance(known, str) else ""
        digests = frozenset(text[at : at + _DIGEST_CHARS] for at in range(0, len(text), _DIGEST_CHARS))
        commit = data.get("commitHash")
        return cls(
            at=at if isinstance(at, str) and at else None,
            highest=highest if isinstance(highest, str) and highest else None,
            known=None if text == ALL else digests,
            commit=commit if isinstance(commit, str) and commit else None,
        )


def keys_of(status: Mapping[str, Any] | None, source: str) -> list[str]:
    """The keys of the references of a source that have an entry.

    >>> keys_of({"checkedSources": {"app": {}, "app@heads/x": {}, "app2@heads/y": {}}}, "app")
    ['app@heads/x']
    """
    return [key for key in _entries(status) if key.startswith(source + MARK)]


def listed_keys(status: Mapping[str, Any] | None, source: str) -> list[str]:
    """The same without pull requests, which no list shows."""
    return [key for key in keys_of(status, source) if not is_pull(key)]


def _entries(status: Mapping[str, Any] | None) -> Mapping[str, Any]:
    entries = status.get("checkedSources") if isinstance(status, Mapping) else None
    return entries if isinstance(entries, Mapping) else {}


class Recorded(NamedTuple):
    """What a list needs of the entry of a reference; `entry_of` reads all of it, which counts for a thousand."""

    commit: str | None
    missing_since: str | None
    waiting: Waiting | None


def recorded_of(status: Mapping[str, Any] | None, keys: Iterable[str]) -> dict[str, Recorded]:
    """The entries of references by key, as `entry_of` reads them.

    >>> recorded_of({"checkedSources": {"app@heads/x": {"commitHash": "ab", "waiting": 1}}}, ["app@heads/x"])
    {'app@heads/x': Recorded(commit='ab', missing_since=None, waiting=None)}
    """
    entries, found = _entries(status), dict[str, Recorded]()
    for key in keys:
        entry = entries.get(key)
        data = entry if isinstance(entry, dict) else {}
        waiting = data.get("waiting")
        found[key] = Recorded(
            commit=stored_text(data.get("commitHash")),
            missing_since=stored_text(data.get("missingSince")),
            waiting=None if waiting is None else Waiting.of(waiting),
        )
    return found


def _drop(status: dict[str, Any], key: str) -> None:
    """Remove an entry; one that is created later continues its numbers."""
    status["lastRunNumber"] = max(entry_of(status, "").runs, entry_of(status, key).runs)
    del status["checkedSources"][key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A complete response lacks a reference since then; None: it is there (again)."""

    source: str
    expected: tuple[int, str | None]
    at: str | None

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record or remove it, unless a run or another commit was recorded meanwhile."""
        before = entry_of(status, self.source)
        if before.key != self.expected or not before.exists:
            return Outcome.STALE
        if before.missing_since == self.at:
            return Outcome.DONE
        entry = draft(status, self.source)
        entry["missingSince"] = self.at
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the reference."""
        return Guards(ledger=frozenset({self.source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """A reference is deleted and nothing runs: its entry records no commit, and all its requests are handled."""

    source: str
    expected: tuple[int, str | None]
    at: str

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Keep the numbers; the entry is pruned later (`pruned_late` in the model)."""
        before = entry_of(status, self.source)
        if before.key != self.expected:
            return Outcome.STALE
        entry = draft(status, self.source)
        entry |= {"commitHash": None, "fileHash": None, "changed": self.at, "missingSince": None}
        entry["handled"] = before.requested
        entry["runHandled"] = before.run_requested
        entry.pop("waiting", None)
        return Outcome.WRITE

    def guards(self) -> Guards:
        """Runs and commit of the reference."""
        return Guards(ledger=frozenset({self.source}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReferences:
    """All references of a source were listed, at a time.

    Attributes:
        recorded: Those that get an entry with this commit without a run.
        shown: All that are watched, with the commit that git shows.
        superseded: Those whose entry is removed because a higher version ran.
        known: Digests of those that have no entry and need no check; None: of all others.
        highest: The highest version that ran or was recorded.
        limit: How many have an entry.
    """

    source: str
    at: str
    recorded: Mapping[str, str]
    shown: Mapping[str, str]
    superseded: tuple[str, ...] = ()
    known: frozenset[str] | None = frozenset()
    highest: str | None = None
    limit: int

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Record it in the source's entry; of too many entries those that moved last stay."""
        outcome = self._base(status)
        for key, commit in self.recorded.items():
            if not entry_of(status, key).exists:
                entry = draft(status, key)
                entry["commitHash"], entry["changed"] = commit, self.at
                outcome = Outcome.WRITE
        for key in self.superseded:
            before = entry_of(status, key)
            if before.exists and not before.is_open:
                _drop(status, key)
                outcome = Outcome.WRITE
        base = status["checkedSources"][self.source]
        known = self.known
        for key in self._too_many(status):
            _drop(status, key)
            outcome = Outcome.WRITE
            known = known | {digest_of(key, self.shown[key])} if known is not None else None
        text = ALL if known is None else "".join(sorted(known)) or None
        if base.get("knownReferences") != text:
            base["knownReferences"] = text
            outcome = Outcome.WRITE
        return outcome

    def _base(self, status: dict[str, Any]) -> Outcome:
        """The source's own entry: the record of a single reference in it is over."""
        before = Listed.of(status, self.source)
        highest = self.highest if self.highest is not None else before.highest
        run_is_due = entry_of(status, self.source).run_is_due
        if before.at and before.commit is None and before.highest == highest and not run_is_due:
            return Outcome.DONE
        base = draft(status, self.source)
        base.pop("waiting", None)
        if before.commit is not None:
            base |= {"commitHash": None, "fileHash": None, "changed": self.at}
            base.pop("lastJob", None)
        base["listedAt"] = before.at or self.at
        if run_is_due:  # requested before there was any reference to run
            base["runHandled"] = base["runRequested"]
        if highest is not None:
            base["highestVersion"] = highest
        return Outcome.WRITE

    def _too_many(self, status: Mapping[str, Any]) -> list[str]:
        """The keys over the limit whose entries may be removed, those that moved longest ago first."""
        keys = listed_keys(status, self.source)
        if len(keys) <= self.limit:
            return []
        idle = [key for key in keys if self._is_idle(entry_of(status, key), key)]
        idle.sort(key=lambda key: (entry_of(status, key).changed or "", key))
        return idle[: len(keys) - self.limit]

    def _is_idle(self, entry: Entry, key: str) -> bool:
        return not entry.is_open and entry.commit is not None and entry.commit == self.shown.get(key)

    def guards(self) -> Guards:
        """The complete object: entries are added and removed."""
        return Guards(complete=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOne:
    """A single reference is watched where patterns were: the source's entry continues that of the reference."""

    source: str
    key: str

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Copy what is known of the reference."""
        if Listed.of(status, self.source).at is None:
            return Outcome.DONE
        known = entry_of(status, self.key)
        base = draft(status, self.source)
        for name in ("listedAt", "highestVersion", "knownReferences"):
            base.pop(name, None)
        if known.exists and known.commit is not None:
            base |= {"commitHash": known.commit, "fileHash": known.file_hash, "changed": known.changed}
        return Outcome.WRITE

    def guards(self) -> Guards:
        """The complete object, as the record of the reference is removed later."""
        return Guards(complete=True)


def watched_by(spec: object) -> Watched | None:
    """The patterns in a trigger's spec as it is stored; None: it watches a single reference.

    Raises:
        ValueError: They cannot be read.
    """
    sources = spec.get("sources") if isinstance(spec, Mapping) else None
    watch = sources.get("watchOn") if isinstance(sources, Mapping) else None
    raw = watch.get("references") if isinstance(watch, Mapping) else None
    return Watched.of(_REFERENCES.validate_python(raw)) if raw is not None else None


def is_over(entry: Entry, now: datetime) -> bool:
    """Whether a reference without a commit needs nothing more, and no check that read it is running."""
    if entry.commit is not None or entry.is_open or entry.waiting is not None:
        return False
    return all(abs(now - moment) > PRUNED_AFTER for moment in last_times(entry))


def prune_delays(status: Mapping[str, Any], keys: Iterable[str], now: datetime) -> list[timedelta]:
    """In which times the entries of deleted references among these may be pruned."""
    found = [entry_of(status, key) for key in keys if MARK in key]
    second = timedelta(seconds=1)
    return [
        min(max((at - now + PRUNED_AFTER for at in last_times(entry)), default=second) + second, PRUNED_AFTER)
        for entry in found
        if entry.commit is None
    ]


def kept_keys(
    status: Mapping[str, Any] | None, names: Iterable[str], watched: Watched | None, now: datetime | None
) -> frozenset[str]:
    """The keys whose entries stay: of the sources, and of their watched references that are not over by now.

    While the entry of a source is that of a list, none is removed: a check first copies that of the single reference.
    """
    named = frozenset(names)
    kept = set(named)
    for key in _entries(status):
        if MARK not in key or source_of(key) not in named:
            continue
        if watched is None:
            if Listed.of(status, source_of(key)).at is not None:
                kept.add(key)
        elif watched.selects(full_name_of(key)):
            entry = entry_of(status, key)
            if not watched.accepts(entry.pull):
                continue
            if not entry.exists or now is None or not is_over(entry, now):
                kept.add(key)
    return frozenset(kept.difference(_pulls_beyond(status, kept, watched)))


def _pulls_beyond(status: Mapping[str, Any] | None, keys: Iterable[str], watched: Watched | None) -> list[str]:
    """Of each source's pull requests beyond the limit those that moved longest ago and need nothing."""
    if watched is None or not watched.pulls:
        return []
    found: list[str] = []
    pulls: dict[str, list[str]] = {}
    for key in filter(is_pull, keys):
        pulls.setdefault(source_of(key), []).append(key)
    for mine in pulls.values():
        if len(mine) <= watched.limit:
            continue
        entries = {key: entry_of(status, key) for key in mine}
        idle = [key for key, entry in entries.items() if not entry.is_open and entry.waiting is None]
        idle.sort(key=lambda key: (entries[key].changed or "", key))
        found += idle[: len(mine) - watched.limit]
    return found
