"""The meaning of a list of references: which need a check of their own, and what is recorded of the others.

The list only shows what to check: the check of a reference reads its entry and requests its commit again, like that of
any source. So a list that another replica overtook does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from git_events_runner.rules.ledger.entry import Entry

from .reference_entries import KNOWN_MOST, Listed, Recorded, digest_of
from .references import TAGS, Watched, full_name_of, key_of
from .versions import Version

Shown = Mapping[str, tuple[str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`checks`: keys to check now; the rest is what `ListReferences` records after these checks.

    `too_many`: how many references are watched by their digest only; `unwatched`: not even by that.
    """

    checks: tuple[str, ...]
    recorded: Mapping[str, str]
    shown: Mapping[str, str]
    superseded: tuple[str, ...]
    known: frozenset[str] | None
    highest: str | None
    too_many: int
    unwatched: int


def plan(
    source: str,
    watched: Watched,
    shown: Shown,
    entries: Mapping[str, Entry | Recorded],
    listed: Listed,
    *,
    record: bool,
) -> Plan:
    """What the listed references need.

    Args:
        source: Name of the source.
        watched: The patterns.
        shown: The references that the patterns select, by full name: commit, and a tag's own id.
        entries: The entries of its references, by key.
        listed: What the source's own entry records.
        record: Whether what exists at the first check is recorded without a run.
    """
    heads = {key_of(source, name): commit for name, (commit, _) in shown.items()}
    versions = _versions(watched, heads)
    highest, superseded = _highest(heads, versions, entries, listed)
    for key in versions:
        if key != highest:
            del heads[key]
    first = listed.at is None
    checks = [key for key, entry in entries.items() if _needs_check(key, entry, heads, superseded)]
    new = [key for key in heads if key not in entries]
    recorded: dict[str, str] = {}
    known: set[str] = set()
    begun = len(entries)  # of those that exist at the first check at most `limit` run
    room = watched.limit - begun
    unknown_all = listed.known is None
    for key in sorted(new):
        commit = heads[key]
        digest = "" if first else digest_of(key, commit)
        if first and (record or commit == listed.commit):
            if len(recorded) < room:
                recorded[key] = commit
            else:
                known.add(digest_of(key, commit))
        elif unknown_all or (listed.known is not None and digest in listed.known):
            if len(recorded) < room:  # there is room again
                recorded[key] = commit
            else:
                known.add(digest or digest_of(key, commit))
        elif first and begun >= watched.limit:
            known.add(digest_of(key, commit))
        else:
            checks.append(key)
            begun += 1
    overflow = len(known) > KNOWN_MOST
    version = versions.get(highest) if highest is not None else None
    return Plan(
        checks=tuple(checks),
        recorded=recorded,
        shown=heads,
        superseded=superseded,
        known=None if overflow else frozenset(known),
        highest=str(version) if version is not None else listed.highest,
        too_many=max(len(heads) - watched.limit, 0),
        unwatched=len(known) if overflow else 0,
    )


def _versions(watched: Watched, heads: Mapping[str, str]) -> dict[str, Version]:
    """The versions of the tags, by key, if only the highest one is watched."""
    if watched.versions is None:
        return {}
    found = {key: watched.version(full_name_of(key)) for key in heads}
    return {key: version for key, version in found.items() if version is not None}


def _highest(
    heads: Mapping[str, str],
    versions: Mapping[str, Version],
    entries: Mapping[str, Entry | Recorded],
    listed: Listed,
) -> tuple[str | None, tuple[str, ...]]:
    """The key of the highest version, unless a higher one ran before; and the keys of tags that it supersedes."""
    if not versions:
        return None, ()
    best = max(versions, key=lambda key: (versions[key], key))
    before = Version.parse(listed.highest) if listed.highest and Version.is_valid(listed.highest) else None
    rises = before is None or versions[best] > before
    if not rises:
        same = [key for key in entries if key in versions and versions[key] == before]
        best = same[0] if same else ""
    tags = [key for key in entries if full_name_of(key).startswith(TAGS) and key in heads]
    return best or None, tuple(key for key in tags if key != best)


def _needs_check(key: str, entry: Entry | Recorded, heads: Mapping[str, str], superseded: tuple[str, ...]) -> bool:
    """Whether an entry differs from git's state: moved, deleted (also while its first run waits), present again."""
    if key in superseded:
        return False
    commit = heads.get(key)
    if commit is None:
        return entry.commit is not None or entry.waiting is not None
    return commit != entry.commit or entry.missing_since is not None
