"""Which hosts the sources name, so that no series is kept of a host that none names; counted as sources change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from git_events_runner.concurrency.slices import Slices
from git_events_runner.edges.git.request import Repository
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import GitUnsupported
from git_events_runner.resources.kinds import SOURCES
from git_events_runner.resources.ref import Ref


class SourceHosts:
    """Gives on the hosts of all sources whenever a source has changed; a change costs as much as its own source."""

    def __init__(self, *, store: Store, keep: Callable[[Collection[str]], None]) -> None:
        """`keep` gets all of them; the series of any other host end."""
        self._store = store
        self._keep = keep
        self._host_of: dict[Ref, str] = {}
        self._named: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow the sources until cancelled; hosts are given on when all that has changed is read."""
        slices = Slices()
        with self._store.subscribe(declared=SOURCES) as changes:
            changed: Iterable[Ref] = (source.ref for kind in SOURCES for source in self._store.all(kind))
            while True:
                for ref in changed:
                    self._read(ref)
                    await slices.rest()
                self._keep(frozenset(self._named))
                await changes.wait()
                changed = changes.drain()

    def _read(self, ref: Ref) -> None:
        """A source as it is now."""
        source = self._store.get(ref)
        old, new = self._host_of.pop(ref, None), None
        if source is not None and source.model is not None:
            new = _host(source.model.spec.repo_uri)
        if new is not None:
            self._host_of[ref] = new
            self._named[new] += 1
        if old is not None:
            self._named[old] -= 1
            if not self._named[old]:
                del self._named[old]


def _host(url: str) -> str | None:
    try:
        return Repository(url=url).host
    except GitUnsupported:
        return None
