"""What a trigger watches, in words, for command line and `local`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def watch_words(watch: object) -> str:
    """The references that `spec.sources.watchOn` names, as `branch main`.

    >>> watch_words({"reference": {"tag": "v1"}}), watch_words({})
    ('tag v1', 'branch main')
    >>> watch_words({"references": {"branches": {"exclude": ["wip/**"]}, "tags": {"include": ["v*"], "semver": "1.x"}}})
    'branches ** except wip/**, tags v* with version 1.x'
    >>> watch_words({"references": {"pullRequests": {"from": "Any"}}})
    'pull requests (Head), also of forks'
    """
    several = _map(_map(watch).get("references"))
    if not several:
        kind, name = next(iter(_map(_map(watch).get("reference")).items()), ("branch", "main"))
        return f"{kind} {name}"
    parts = [f"{kind} {_selected(_map(several[kind]))}" for kind in ("branches", "tags") if kind in several]
    if "pullRequests" in several:
        parts.append(pull_words(_map(several["pullRequests"])))
    return ", ".join(parts)


def pull_words(pulls: Mapping[str, Any]) -> str:
    """Which pull requests are watched."""
    forks = ", also of forks" if pulls.get("from") == "Any" else ""
    return f"pull requests ({pulls.get('checkout') or 'Head'}){forks}"


def _selected(rule: Mapping[str, Any]) -> str:
    include, exclude, semver = (rule.get(field) for field in ("include", "exclude", "semver"))
    names = " ".join(map(str, include)) if isinstance(include, list) and include else "**"
    names += f" except {' '.join(map(str, exclude))}" if isinstance(exclude, list) and exclude else ""
    return names + (f" with version {semver}" if semver else "")


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
