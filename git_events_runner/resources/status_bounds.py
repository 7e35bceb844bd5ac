"""What of a stored status is read: tenants write statuses as well as specs, up to what the API server stores.

The controller itself never writes more than these bounds. What is beyond them reads as absent, as all that is strange
in a status, and the next write replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from .bounds import (
    STATUS_CONDITIONS,
    STATUS_DELIVERIES_CHARACTERS,
    STATUS_HOST_KEYS,
    STATUS_MESSAGE_CHARACTERS,
    STATUS_OTHER_ENTRIES,
    STATUS_REFERENCES,
    STATUS_RUNS,
    STATUS_TEXT_CHARACTERS,
    STATUS_WARNINGS,
)
from .part import NAME_CHARS
from .references import PATTERN_CHARS
from .status import KNOWN_CHARS

_CONDITIONS, _ENTRIES, _DELIVERIES, _HOST_KEYS = "conditions", "checkedSources", "deliveries", "hostKeys"
_PROBLEMS, _WARNINGS = "problems", "warnings"
_HISTORY, _NOTIFIED = "history", "notified"
_KEY_CHARS = NAME_CHARS + len("@heads/") + PATTERN_CHARS
_KNOWN = "knownReferences"


def bounded_status(status: Any, spec: Any) -> Any:
    """The status without what is beyond the bounds; the same object if all of it is within.

    Texts are cut, so that what cannot be right is still seen and repaired; conditions and host keys are left out.
    The entries of sources that `spec` names are kept, and as many others as a changed spec leaves behind.

    >>> bounded_status({"state": "Idle", "hostKeys": ["x" * 5000]}, {})
    {'state': 'Idle'}
    """
    if not isinstance(status, Mapping):
        return status
    found = {name: _cut(value, STATUS_TEXT_CHARACTERS) for name, value in status.items()}
    if not _conditions_fit(found.get(_CONDITIONS)):
        del found[_CONDITIONS]
    if not _host_keys_fit(found.get(_HOST_KEYS)):
        del found[_HOST_KEYS]
    if not _is_short(found.get(_WARNINGS)):
        del found[_WARNINGS]
    if not _is_short(found.get(_PROBLEMS)):
        del found[_PROBLEMS]
    if not _history_fits(found.get(_HISTORY)):
        del found[_HISTORY]
    if not _is_short(found.get(_NOTIFIED)):
        del found[_NOTIFIED]
    if _DELIVERIES in found:
        found[_DELIVERIES] = _cut(found[_DELIVERIES], STATUS_DELIVERIES_CHARACTERS + 1)
    if isinstance(found.get(_ENTRIES), Mapping):
        found[_ENTRIES] = _entries(found[_ENTRIES], spec)
    same = len(found) == len(status) and all(found[name] is value for name, value in status.items())
    return status if same else found


def _cut(value: Any, characters: int) -> Any:
    return value[:characters] if isinstance(value, str) and len(value) > characters else value


def _short(value: object) -> bool:
    return not isinstance(value, str) or len(value) <= STATUS_TEXT_CHARACTERS


def _conditions_fit(conditions: object) -> bool:
    if not isinstance(conditions, list):
        return True
    return len(conditions) <= STATUS_CONDITIONS and all(
        _short(value) or (name == "message" and len(value) <= STATUS_MESSAGE_CHARACTERS)
        for condition in conditions
        if isinstance(condition, Mapping)
        for name, value in condition.items()
    )


def _is_short(value: object) -> bool:
    """Whether problems or warnings have no more texts, and no longer ones, than are ever written."""
    if isinstance(value, str):
        return len(value) <= STATUS_TEXT_CHARACTERS
    if isinstance(value, Mapping):
        return len(value) <= STATUS_WARNINGS and all(map(_is_short, value.values()))
    return not isinstance(value, list) or (len(value) <= STATUS_WARNINGS and all(map(_is_short, value)))


def _host_keys_fit(lines: object) -> bool:
    if not isinstance(lines, list):
        return True
    return len(lines) <= STATUS_HOST_KEYS and all(map(_short, lines))


def _history_fits(records: object) -> bool:
    if not isinstance(records, list):
        return True
    return len(records) <= STATUS_RUNS and all(
        isinstance(record, Mapping) and all(map(_is_plain, record.values())) for record in records
    )


def _is_plain(value: object) -> bool:
    """Whether it is no list and no mapping, and not too long."""
    return not isinstance(value, list | Mapping) and _short(value)


def _entries(entries: Mapping[str, Any], spec: Any) -> Mapping[str, Any]:
    """The entries within the bounds; the same mapping if all of them are."""
    if len(entries) > STATUS_OTHER_ENTRIES or any(len(name) > _KEY_CHARS for name in entries):
        sources = spec.get("sources") if isinstance(spec, Mapping) else None
        names = sources.get("names") if isinstance(sources, Mapping) else None
        named = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
        others = [name for name in entries if name not in named and len(name) <= _KEY_CHARS]
        references = (name for name in others if name.partition("@")[0] in named)
        rest = (name for name in others if name.partition("@")[0] not in named)
        kept = {*named, *islice(references, STATUS_REFERENCES), *islice(rest, STATUS_OTHER_ENTRIES)}
        entries = {name: entry for name, entry in entries.items() if name in kept}
    found = {name: _entry(entry) for name, entry in entries.items()}
    return entries if all(found[name] is entry for name, entry in entries.items()) else found


def _entry(entry: Any) -> Any:
    """An entry with its texts cut; the same object if none is too long."""
    if type(entry) is dict and _is_within(entry):  # nearly all are, and a status may have a thousand
        return entry
    if not isinstance(entry, Mapping):
        return _cut(entry, STATUS_TEXT_CHARACTERS)
    found = {name: _known(value) if name == _KNOWN else _entry(value) for name, value in entry.items()}
    return entry if all(found[name] is value for name, value in entry.items()) else found


def _is_within(entry: dict[str, Any]) -> bool:
    """Whether no text of an entry is too long; False also where that is not known."""
    for name, value in entry.items():
        if type(value) is str:
            if len(value) > STATUS_TEXT_CHARACTERS and (name != _KNOWN or len(value) > KNOWN_CHARS):
                return False
        elif isinstance(value, Mapping) and not (type(value) is dict and _is_within(value)):
            return False
    return True


def _known(text: Any) -> Any:
    """The digests of references; too many of them read as none."""
    return text if isinstance(text, str) and len(text) <= KNOWN_CHARS else _entry(text)
