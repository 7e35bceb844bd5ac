"""What a remote remembers of repositories between two requests, except trees: small facts, by `Repository.key`."""

from __future__ import annotations

from collections.abc import Collection

from git_events_runner.concurrency.fairness import FairCache, Room
from git_events_runner.errors import GitTooLarge
from git_events_runner.resources.commits import CommitText

_APART_S = 600.0
_TEXTS = 512  # of up to 4,096 characters


class RepositoryCache:
    """Bounded by namespace; each has room for what its objects configure.

    Attributes:
        large: Repositories whose trees are large.
        too_large: Commits, by repository and id, whose trees pass a limit.
        commits: Those that were found.
        kinds: What an object is, by repository and id.
        texts: Authors and messages of commits, by repository and id.
    """

    def __init__(self, *, limit: int, room: Room) -> None:
        """`limit` is how many values of a sort are remembered, `room` how many of one namespace in any case."""
        self.large: FairCache[str, bool] = FairCache(limit=4 * limit, room=room)
        self.too_large: FairCache[tuple[str, str], GitTooLarge] = FairCache(limit=4 * limit, room=room)
        self.commits: FairCache[tuple[str, str], str] = FairCache(limit=4 * limit, room=room)
        self.kinds: FairCache[tuple[str, str], str] = FairCache(limit=4 * limit, room=room)
        self.texts: FairCache[tuple[str, str], CommitText] = FairCache(limit=_TEXTS)
        self._apart: FairCache[str, float] = FairCache(limit=limit, room=room)

    def part(self, namespace: str, key: str, now: float) -> None:
        """Let namespaces share no request to this repository for a while."""
        self._apart.put(namespace, key, now + _APART_S)

    def apart(self, key: str, now: float) -> bool:
        """Whether namespaces share no request to this repository."""
        return (self._apart.get(key) or 0.0) > now

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of repositories that are no longer configured."""
        for key in keys:
            self.large.pop(key)
            self._apart.pop(key)
        for cache in (self.too_large, self.commits, self.kinds, self.texts):
            for pair in cache:
                if pair[0] in keys:
                    cache.pop(pair)
