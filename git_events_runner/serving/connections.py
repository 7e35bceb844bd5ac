"""Which connections a port has: at most so many, shared fairly by client address.

A connection *waits* for its peer (headers, body, the next request, an answer that is not read) or the program works
on its request. When the port is full, those that wait give way to a new one: of the address with the most of them, the
one that made no progress for the longest time. So a client that holds hundreds of connections takes slots from
itself alone, and one that sends nothing loses to those that send.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Protocol

# Few at a time: finding them costs a pass over all connections, which a flood of new ones must not cost for each.
_GIVE_WAY = 16


class Connection(Protocol):
    """What can be counted and closed."""

    @property
    def address(self) -> Hashable:
        """Whom it counts for."""

    @property
    def moved_at(self) -> float:
        """When it made progress, by the loop's clock."""

    @property
    def waits(self) -> bool:
        """Whether it waits for its peer."""

    def abort(self) -> None:
        """Close immediately."""


class Connections:
    """The connections of one port."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()

    def __iter__(self) -> Iterator[Connection]:
        """All that are open, as of now."""
        return iter(tuple(self._open))

    def enter(self, connection: Connection) -> bool:
        """Accept a connection; False when the program works on every other one."""
        if len(self._open) >= self._most:
            self._make_room()
        if len(self._open) >= self._most:
            return False
        self._open.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)

    def _make_room(self) -> None:
        """Close a few: those with the most newer ones of their own address, among equals the oldest progress."""
        newer: dict[Hashable, int] = {}
        ranked: list[tuple[int, float, Connection]] = []
        for one in sorted((one for one in self._open if one.waits), key=lambda one: -one.moved_at):
            newer[one.address] = newer.get(one.address, 0) + 1
            ranked.append((-newer[one.address], one.moved_at, one))
        ranked.sort(key=lambda found: found[:2])
        for _, _, one in ranked[: max(min(_GIVE_WAY, self._most // 8), 1)]:
            self._open.discard(one)
            one.abort()
