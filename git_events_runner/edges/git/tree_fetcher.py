"""The files of a commit: small trees as they come, large ones one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from git_events_runner.concurrency.pools import Pool
from git_events_runner.errors import (
    GitProtocolError,
    GitTimeout,
)

from .exchange import Exchanges
from .large_trees import SMALL_PACK_BYTES, SMALL_TREE_BYTES, LargeTrees, NotSmall
from .limits import Limits, Transport
from .packs import Tree, TreesTooLarge, read_tree
from .partial import fetch_partial
from .repository_cache import RepositoryCache
from .request import Repository
from .single_flight import Shared

# Reading a pack of this size takes about 5 ms; a larger one is read in a thread, so that the loop continues.
_INLINE_BYTES = 16 * 1024
_PLACE_DEADLINES = 6  # a large tree is fetched, and matched with patterns, before the next one comes


class TreeFetcher:
    """Fetches trees, and remembers which repositories have large ones."""

    def __init__(self, *, limits: Limits, exchanges: Exchanges, remembered: RepositoryCache) -> None:
        self._limits = limits
        self._exchanges = exchanges
        self._remembered = remembered
        self._trees = LargeTrees()
        self._pool = Pool("trees", threads=2, own=1)

    async def fetch(
        self,
        shared: Shared[Tree],
        transport: Transport,
        repository: Repository,
        commit: str,
        *,
        urgent: bool,
    ) -> Tree:
        """Its trees as small ones, or, if they turn out to be large, once more with a slot for a large tree."""
        limits, doing = self._limits, f"fetching the files of {commit}"
        small = replace(limits, tree_bytes=min(SMALL_TREE_BYTES, limits.tree_bytes))
        if self._remembered.large.get(repository.key) is None:
            try:
                return await self._fetch_within(shared, transport, repository, commit, small, urgent=urgent)
            except TreesTooLarge:
                if small == limits:
                    raise
            except NotSmall:
                pass
            self._remembered.large.put(repository.owner, repository.key, True)
        try:
            async with asyncio.timeout(_PLACE_DEADLINES * limits.deadline_s):
                place = await self._trees.reserve(repository.owner)
        except TimeoutError as error:
            raise GitTimeout(f"{repository}: {doing} waited too long for other large ones") from error
        try:
            tree = await self._fetch_within(shared, transport, repository, commit, limits, urgent=urgent)
        except BaseException:
            place.give_back()
            raise
        place.hold_for(tree)
        return tree

    async def _fetch_within(
        self,
        shared: Shared[Tree],
        transport: Transport,
        repository: Repository,
        commit: str,
        limits: Limits,
        *,
        urgent: bool,
    ) -> Tree:
        pack = bytearray()

        def write(data: bytes) -> None:
            pack.extend(data)
            if len(pack) > SMALL_PACK_BYTES and limits != self._limits:
                raise NotSmall

        async def fetch(_: float) -> str:
            return await fetch_partial(transport, repository, commit, write=write)

        doing = f"fetching the files of {commit}"
        form = await self._exchanges.send(repository, doing, fetch, urgent=urgent, shared=shared, part=commit)
        try:
            if len(pack) <= _INLINE_BYTES:
                return read_tree(pack, commit, form, limits)
            return await self._pool.run(read_tree, pack, commit, form, limits, owner=repository.owner)
        except GitProtocolError as error:
            self._exchanges.failed(repository, commit, error)
            raise
