"""The trees that are kept for the next caller: of each repository those used last, within a limit for all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from .packs import Tree
from .single_flight import LruCache

_EACH = 32  # branches and commits that are compared at about the same time

Key = tuple[str, str]  # of the repository, and the commit


class TreeCache:
    """Trees by repository and commit. A push makes the former one useless, whether or not there is room for it."""

    def __init__(self, *, limit: int) -> None:
        """`limit` is how many entries they have together."""
        self._kept: LruCache[Key, Tree] = LruCache(limit=limit, weigh=_entries)
        self._commits: dict[str, OrderedDict[str, None]] = {}  # by repository, the one used last at the end

    def get(self, key: Key) -> Tree | None:
        """The tree, which counts as used now."""
        found = self._kept.get(key)
        if found is not None:
            self._use(key)
        return found

    def put(self, key: Key, tree: Tree, namespace: str) -> None:
        """Keep it for a namespace."""
        self._kept.put(key, tree, namespace)
        commits = self._use(key)
        while len(commits) > _EACH:
            oldest, _ = commits.popitem(last=False)
            self._kept.drop((key[0], oldest))

    def forget(self, repositories: Collection[str]) -> None:
        """Drop the trees of repositories."""
        for repository in repositories:
            for commit in self._commits.pop(repository, ()):
                self._kept.drop((repository, commit))

    def _use(self, key: Key) -> OrderedDict[str, None]:
        commits = self._commits.setdefault(key[0], OrderedDict())
        commits[key[1]] = None
        commits.move_to_end(key[1])
        return commits


def _entries(tree: Tree) -> int:
    return len(tree) + 1
