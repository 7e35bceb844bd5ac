"""Which objects name which others: a change of one object touches only those that name it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from git_events_runner.resources.ref import Ref


class Naming:
    """What each trigger names, and the other way round.

    >>> naming, trigger, source = Naming(), Ref("ScheduleTrigger", "n", "t"), Ref("GitRepo", "n", "app")
    >>> naming.put(trigger, [source])
    >>> naming.of([source, Ref("GitRepo", "n", "other")]) == {trigger}
    True
    """

    def __init__(self) -> None:
        self._named: dict[Ref, tuple[Ref, ...]] = {}  # a set of one takes three times as much
        self._by: dict[Ref, set[Ref]] = {}

    def put(self, trigger: Ref, named: Collection[Ref]) -> None:
        """The trigger names these, and no other."""
        old, new = set(self._named.get(trigger, ())), set(named)
        for ref in old - new:
            self._by[ref].discard(trigger)
            if not self._by[ref]:
                del self._by[ref]
        for ref in new - old:
            self._by.setdefault(ref, set()).add(trigger)
        if new:
            self._named[trigger] = tuple(new)
        else:
            self._named.pop(trigger, None)

    def drop(self, trigger: Ref) -> None:
        """The trigger is deleted."""
        self.put(trigger, ())

    def of(self, changed: Iterable[Ref]) -> set[Ref]:
        """The triggers that name one of these."""
        return {trigger for ref in changed for trigger in self._by.get(ref, ())}

    def clear(self) -> None:
        """Remove everything."""
        self._named.clear()
        self._by.clear()
