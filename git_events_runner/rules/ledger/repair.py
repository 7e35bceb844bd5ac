"""Invalid values of a status: written by hand, by a restore, or by a clock that is wrong.

Everywhere else they read as valid values (`ledger.entry_of`, `storedtime`). Here they are found, reported and replaced,
so that a later write is not refused for a value that it does not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from git_events_runner.resources.job import timestamp
from git_events_runner.resources.status import DELIVERIES_CHARS, HASH_CHARS

from .entry import RAISED, is_number
from .mutations import Guards, Outcome
from .stored_times import lies_ahead

_NUMBERS = ("runs", "requested", "handled", "runRequested", "runHandled")
_ORDERED = (("requested", "handled"), ("runRequested", "runHandled"))
_HASHES = ("commitHash", "fileHash")
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A value at a path of the status (names), why it is wrong, and what replaces it (None: it is removed)."""

    path: tuple[str, ...]
    why: str
    instead: object

    def __str__(self) -> str:
        """For a person.

        >>> str(Wrong(path=("checkedSources", "app", "handled"), why="is 9, above requested 3", instead=3))
        'checkedSources.app.handled is 9, above requested 3 (now 3)'
        """
        what = "removed" if self.instead is None else f"now {self.instead}"
        return f"{'.'.join(self.path)} {self.why} ({what})"


def wrong_values(status: Mapping[str, Any] | None, now: datetime) -> tuple[Wrong, ...]:
    """Every invalid value."""
    return tuple(_wrong(status, now)) if isinstance(status, Mapping) else ()


def in_words(found: tuple[Wrong, ...]) -> str:
    """The first of them, and how many more there are."""
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "values that cannot be right were replaced: " + "; ".join(map(str, found[:_NAMED])) + more


def _wrong(status: Mapping[str, Any], now: datetime) -> Iterator[Wrong]:
    last = status.get("lastRunNumber")
    if last is not None and not is_number(last):
        yield Wrong(path=("lastRunNumber",), why=f"is {_shown(last)}", instead=_raised(last) or 0)
    deliveries = status.get("deliveries")
    if deliveries is not None and not (isinstance(deliveries, str) and len(deliveries) <= DELIVERIES_CHARS):
        yield Wrong(path=("deliveries",), why="is too long", instead="")
    yield from _ahead(status, ("lastRun",), now, instead=None)
    entries = status.get("checkedSources")
    for source, entry in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(entry, Mapping):
            yield from _wrong_in(entry, ("checkedSources", str(source)), now)


def _wrong_in(entry: Mapping[str, Any], path: tuple[str, ...], now: datetime) -> Iterator[Wrong]:
    numbers = {name: entry[name] for name in _NUMBERS if entry.get(name) is not None}
    for name, value in numbers.items():
        if not is_number(value):
            yield Wrong(path=(*path, name), why=f"is {_shown(value)}", instead=_raised(value) if name == "runs" else 0)
    for upper, done in _ORDERED:
        requested, handled = numbers.get(upper, 0), numbers.get(done, 0)
        requested = requested if is_number(requested) else 0
        if is_number(handled) and handled > requested:
            yield Wrong(path=(*path, done), why=f"is {handled}, above {upper} {requested}", instead=requested)
    for name in _HASHES:
        if isinstance(entry.get(name), str) and len(entry[name]) > HASH_CHARS:
            yield Wrong(path=(*path, name), why="is too long", instead=None)
    yield from _ahead(entry, (*path, "answeredAt"), now, instead=None)
    yield from _ahead(entry, (*path, "lastStart"), now, instead=None)
    announced, waiting = entry.get("announced"), entry.get("waiting")
    if isinstance(waiting, Mapping):
        for name in ("since", "moved"):
            yield from _ahead(waiting, (*path, "waiting", name), now, instead=None)
    if isinstance(announced, Mapping):
        yield from _ahead(announced, (*path, "announced", "at"), now, instead=None)


def _ahead(place: Mapping[str, Any], path: tuple[str, ...], now: datetime, *, instead: object) -> Iterator[Wrong]:
    moment = timestamp(place.get(path[-1]))
    if moment is not None and lies_ahead(moment, now):
        yield Wrong(path=path, why=f"is {_shown(place[path[-1]])}, which lies ahead", instead=instead)


def _raised(value: object) -> int | None:
    """A number of runs that is too high leaves room for the next; any other is removed."""
    return RAISED if isinstance(value, int) and value > 0 and not isinstance(value, bool) else None


def _shown(value: object) -> str:
    return str(value)[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Replace every invalid value by what it reads as."""

    now: datetime

    def apply(self, status: dict[str, Any]) -> Outcome:
        """As `wrong_values` finds them in the same status."""
        found = wrong_values(status, self.now)
        for wrong in found:
            place = status
            for name in wrong.path[:-1]:
                place = place[name]
            if wrong.instead is None:
                place.pop(wrong.path[-1], None)
            else:
                place[wrong.path[-1]] = wrong.instead
        return Outcome.WRITE if found else Outcome.DONE

    def guards(self) -> Guards:
        """The complete object, by its resource version."""
        return Guards(complete=True)
