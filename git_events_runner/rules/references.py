"""Which references and pull requests of a repository a trigger watches, and under which key each is recorded.

The cost of a pattern is its length and the name's: parts and runs of characters are matched leftmost, without
backtracking. Names are untrusted bytes: one that is longer than a file name may be is not watched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from git_events_runner.resources.references import Branches, References, Tags

from .pull_requests import PullRecord
from .versions import Range, Version, version_of

HEADS, TAGS, PULLS = "refs/heads/", "refs/tags/", "refs/pull/"
MARK = "@"
NAME_CHARS = 255
PULL_REQUEST = "pull request"
_PLACES = {"heads": "branch", "tags": "tag", "pull": PULL_REQUEST}
_NUMBER = re.compile(r"[1-9][0-9]{0,9}\Z")
_WILD = re.compile(r"[*?]")
_MOST_PREFIXES = 16


def key_of(source: str, full_name: str) -> str:
    """The key of a reference's entry.

    >>> key_of("app", "refs/heads/feature/x")
    'app@heads/feature/x'
    """
    return f"{source}{MARK}{full_name.removeprefix('refs/')}"


def any_key(trigger: Any, name: str) -> str:
    """The key of an entry of a source, as `resolve` takes it: of patterns of references, that of any of them."""
    return key_of(name, "refs/heads/main") if trigger.spec.sources.watch_on.references is not None else name


def source_of(key: str) -> str:
    """The source whose entry, or reference's entry, has the key.

    >>> source_of("app@heads/x"), source_of("app")
    ('app', 'app')
    """
    return key.partition(MARK)[0]


def reference_of(key: str) -> tuple[str, str] | None:
    """Type and name of the reference of a key; None for the entry of a source.

    >>> reference_of("app@heads/feature/x"), reference_of("app")
    (('branch', 'feature/x'), None)
    >>> reference_of("app@pull/7")
    ('pull request', '7')
    """
    _, mark, reference = key.partition(MARK)
    place, slash, name = reference.partition("/")
    if not mark or not slash or not name or place not in _PLACES:
        return None
    return _PLACES[place], name


def full_name_of(key: str) -> str:
    """The full name of the reference of a key; of a pull request that of no forge, but the same for all.

    >>> full_name_of("app@tags/v1"), full_name_of("app@pull/7")
    ('refs/tags/v1', 'refs/pull/7')
    """
    return f"refs/{key.partition(MARK)[2]}"


def pull_key(source: str, number: int) -> str:
    """The key of a pull request's entry.

    >>> pull_key("app", 7), is_pull("app@pull/7"), is_pull("app@heads/pull/7")
    ('app@pull/7', True, False)
    """
    return key_of(source, f"{PULLS}{number}")


def is_pull(key: str) -> bool:
    """Whether a key is that of a pull request."""
    return key.partition(MARK)[2].startswith("pull/")


@dataclass(frozen=True, slots=True)
class Watched:
    """The patterns of a trigger, compiled."""

    branches: re.Pattern[str] | None
    not_branches: re.Pattern[str] | None
    tags: re.Pattern[str] | None
    not_tags: re.Pattern[str] | None
    versions: Range | None
    prefixes: tuple[str, ...]
    limit: int
    pulls: bool = False
    forks: bool = False

    @classmethod
    def of(cls, references: References) -> Watched:
        """Those of a spec."""
        return _watched(references)

    def matches(self, full_name: str) -> bool:
        """Whether the patterns select a reference (of tags, for `semver`, also that it has a version in the range)."""
        if len(full_name) > NAME_CHARS or not full_name.isprintable():
            return False
        if full_name.startswith(HEADS):
            name, wanted, unwanted = full_name[len(HEADS) :], self.branches, self.not_branches
        elif full_name.startswith(TAGS):
            name, wanted, unwanted = full_name[len(TAGS) :], self.tags, self.not_tags
        elif full_name.startswith(PULLS):
            return self.pulls and _NUMBER.match(full_name, len(PULLS)) is not None
        else:
            return False
        if wanted is None or wanted.match(name) is None or (unwanted is not None and unwanted.match(name)):
            return False
        return self.versions is None or wanted is not self.tags or self.version(full_name) is not None

    def accepts(self, pull: PullRecord | None) -> bool:
        """Whether a pull request with that record may run: that of a fork only if forks are accepted."""
        return pull is None or self.forks or not pull.fork

    def selects(self, full_name: str) -> bool:
        """The same, cached for the latest names: entries and Jobs are compared in every pass."""
        return _selects(self, full_name)

    def version(self, full_name: str) -> Version | None:
        """The version of a tag, if `semver` is given and it is in the range."""
        if self.versions is None or not full_name.startswith(TAGS):
            return None
        found = version_of(full_name[len(TAGS) :])
        return found if found is not None and found in self.versions else None


@lru_cache(maxsize=16384)
def _selects(watched: Watched, full_name: str) -> bool:
    return watched.matches(full_name)


@lru_cache(maxsize=1024)
def _watched(references: References) -> Watched:
    branches, tags, pulls = references.branches, references.tags, references.pull_requests
    return Watched(
        branches=_any_of(branches.include) if branches else None,
        not_branches=_any_of(branches.exclude) if branches and branches.exclude else None,
        tags=_any_of(tags.include) if tags else None,
        not_tags=_any_of(tags.exclude) if tags and tags.exclude else None,
        versions=Range.of(tags.semver) if tags and tags.semver else None,
        prefixes=_prefixes([*_literal(HEADS, branches), *_literal(TAGS, tags)]),
        limit=references.limit,
        pulls=pulls is not None,
        forks=pulls is not None and pulls.origin == "Any",
    )


def _literal(place: str, patterns: Branches | Tags | None) -> list[str]:
    """The prefixes of the names that the patterns select."""
    return [place + _WILD.split(pattern, maxsplit=1)[0] for pattern in patterns.include] if patterns else []


def _prefixes(found: Iterable[str]) -> tuple[str, ...]:
    """Those that no other one covers; of many, only `refs/heads/` and `refs/tags/`."""
    kept: list[str] = []
    for prefix in sorted(set(found)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    if len(kept) > _MOST_PREFIXES:
        return tuple(place for place in (HEADS, TAGS) if any(one.startswith(place) for one in kept))
    return tuple(kept)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("(?:" + "|".join(map(_translated, patterns)) + r")\Z", re.DOTALL)


def _translated(pattern: str) -> str:
    r"""A pattern as a regular expression with the least backtracking.

    >>> bool(re.fullmatch(_translated("feature/**"), "feature/a/b")), bool(re.fullmatch(_translated("v*"), "v1/x"))
    (True, False)
    """
    groups: list[list[str]] = [[]]
    for part in pattern.split("/"):
        if part == "**":
            groups.append([])
        else:
            groups[-1].append(_part(part))
    first, *rest = groups
    found = "/".join(first)
    if not rest:
        return found
    found += "/" if first else ""
    for group in rest[:-1]:
        found += f"(?>(?:[^/]+/)*?{'/'.join(group)}/)" if group else ""
    last = rest[-1]
    return found + ("(?:[^/]+/)*" + "/".join(last) if last else ".+")


def _part(part: str) -> str:
    """One part: runs of characters between stars, each found leftmost."""
    runs = ["".join("[^/]" if c == "?" else re.escape(c) for c in run) for run in re.split(r"\*+", part)]
    if len(runs) == 1:
        return runs[0]
    middle = "".join(f"(?>[^/]*?{run})" for run in runs[1:-1] if run)
    return runs[0] + middle + "[^/]*" + runs[-1]
