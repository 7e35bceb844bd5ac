"""From a trigger's status and its mutations to the one request that writes them.

JSON Patch (RFC 6902) with tests where every tested field is present: it does not conflict with writers of other fields.
Otherwise the complete object with its resource version.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from git_events_runner.rules.derived_conditions import adopt_conditions, derive_conditions, is_derived
from git_events_runner.rules.history import HISTORY

from .mutations import Guards, Mutation, Outcome
from .report import reported_at


def combine(
    status: Mapping[str, Any] | None, mutations: Collection[Mutation], *, sources: Collection[str] | None = None
) -> tuple[dict[str, Any], list[Outcome]]:
    """Apply mutations one after another to a copy of `status`; the new status, and each one's outcome.

    If there are reports among them, the conditions are derived at the end; `sources` are those that the trigger names.
    Conditions of another version are rewritten with the next change: alone they are no reason to write.
    """
    draft: dict[str, Any] = _copied(dict(status)) if isinstance(status, Mapping) else {}
    reports = [number for number, mutation in enumerate(mutations) if mutation.guards().conditions]
    if not reports:
        return draft, [mutation.apply(draft) for mutation in mutations]
    now, generation = reported_at(mutations)
    derived = is_derived(draft)
    named = list(draft.get("checkedSources") or ()) if sources is None else sources
    ended = adopt_conditions(draft, named, now)
    outcomes = [mutation.apply(draft) for mutation in mutations]
    if not derived and Outcome.WRITE not in outcomes:
        return dict(status or {}), outcomes
    changed = derive_conditions(draft, now, generation) or ended
    if changed and all(outcomes[number] is not Outcome.WRITE for number in reports):
        outcomes[reports[-1]] = Outcome.WRITE
    return draft, outcomes


def _copied(value: Any) -> Any:
    """A copy of JSON, several times faster than copy.deepcopy, which supports any type."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def patch_for(
    uid: str, before: Mapping[str, Any] | None, after: Mapping[str, Any], guards: Guards
) -> list[dict[str, Any]] | None:
    """JSON Patch (RFC 6902) that turns one status into the other if the tested fields still hold.

    None if a tested field is absent or an entry is added or removed: then the complete object is written.
    """
    if guards.complete or not isinstance(before, Mapping):
        return None
    old_entries = before.get("checkedSources")
    new_entries = after.get("checkedSources") or {}
    if not isinstance(old_entries, Mapping) or set(old_entries) != set(new_entries):
        return None
    patch: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": uid}]
    if not _add_all_tests(patch, before, old_entries, guards):
        return None
    if not _add_history(patch, before.get(HISTORY), after.get(HISTORY)):
        return None
    for name in sorted({*before, *after} - {HISTORY, "checkedSources"}):
        _add_change(patch, _pointer(name), before, after, name)
    for source in sorted(new_entries):
        old, new = old_entries[source], new_entries[source]
        if old == new:
            continue
        if not isinstance(old, Mapping):
            return None
        for name in sorted(set(old) | set(new)):
            _add_change(patch, _pointer("checkedSources", source, name), old, new, name)
    return patch


def _add_history(patch: list[dict[str, Any]], old: object, new: object) -> bool:
    """Insert new runs before the others and remove the oldest, so that replicas that settle do not conflict.

    All other changes test the entire history. False: there is no history to test.
    """
    if old == new:
        return True
    if not isinstance(old, list) or not isinstance(new, list):
        return False
    path = f"/status/{HISTORY}"
    inserted = next((n for n in range(1, len(new) + 1) if new[n:] == old[: len(new) - n]), None)
    known = [_job(one) for one in old]
    if inserted is None or any(_job(one) in known for one in new[:inserted]):
        patch.append({"op": "test", "path": path, "value": old})
        patch.append({"op": "add", "path": path, "value": new})
        return True
    patch.extend({"op": "add", "path": f"{path}/0", "value": record} for record in reversed(new[:inserted]))
    dropped = len(old) - (len(new) - inserted)
    patch.extend({"op": "remove", "path": f"{path}/{len(new)}"} for _ in range(dropped))
    return True


def _job(record: object) -> object:
    """The Job in a record of a run."""
    return record.get("job") if isinstance(record, Mapping) else None


def _add_all_tests(
    patch: list[dict[str, Any]], before: Mapping[str, Any], entries: Mapping[str, Any], guards: Guards
) -> bool:
    for source in sorted(guards.ledger | guards.counted):
        fields = ["runs", "commitHash"] if source in guards.ledger else []
        fields += ["requested"] if source in guards.counted else []
        if not _add_tests(patch, _pointer("checkedSources", source), entries.get(source), fields):
            return False
    fields = [*(["deliveries"] if guards.counted else []), *(["conditions"] if guards.conditions else [])]
    return not fields or _add_tests(patch, "/status", before, fields)


def _add_tests(patch: list[dict[str, Any]], path: str, entry: object, fields: Sequence[str]) -> bool:
    if not isinstance(entry, Mapping) or any(name not in entry for name in fields):
        return False
    patch.extend({"op": "test", "path": f"{path}/{name}", "value": entry[name]} for name in fields)
    return True


def _add_change(
    patch: list[dict[str, Any]], path: str, old: Mapping[str, Any], new: Mapping[str, Any], name: str
) -> None:
    if name not in new:
        patch.append({"op": "remove", "path": path})
    elif name not in old or old[name] != new[name]:
        patch.append({"op": "add", "path": path, "value": new[name]})


def _pointer(*parts: str) -> str:
    return "/status/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
