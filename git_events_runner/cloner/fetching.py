"""Brings what a clone needs from the git server into packs on the disk: the commit, and contents that it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from git_events_runner.edges.git import Remote
from git_events_runner.edges.git.request import Repository
from git_events_runner.edges.git.shape import FetchShape
from git_events_runner.errors import GitReferenceNotFound
from git_events_runner.resources.clone_options import CloneOptions

from .budget import Budget, CloneLimits, DiskFailed
from .commits import tree_of
from .gitfolder import UNFINISHED
from .objects import Objects, Packs
from .pack import Pack, PackLimits
from .sparse import Selects, missing

# A request for so many contents has 1 MB; servers take up to 10 MiB.
_BATCH = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was brought: packs, of which the first has all commits and folders; and the object format."""

    packs: tuple[Pack, ...]
    objects: Objects
    form: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How packs are brought: from where, into which folder, and within which bounds."""

    remote: Remote
    repository: Repository
    folder: Path
    limits: CloneLimits
    budget: Budget
    debug: Callable[[str], None]
    files: ExitStack

    async def commit(self, want: str, commit: str, options: CloneOptions, selects: Selects | None) -> Fetched:
        """A commit, requested by its id or by that of a tag that points to it (`want`).

        Raises:
            GitError: The class names the failure.
            CloneTooLarge: The limits do not allow it.
            DiskFailed: The disk is full or not writable.
        """
        shape = FetchShape(depth=options.depth, tags=options.tags)
        pack, form = await self._pack(want, shape, blobless=options.blobless)
        packs = [pack]
        if not options.blobless:
            return Fetched(packs=(pack,), objects=pack, form=form)
        most = self.limits.max_files
        tree = tree_of(pack, bytes.fromhex(commit))
        wanted = await asyncio.to_thread(missing, pack, tree, selects, most=most)
        self.debug(f"{len(wanted)} contents of files are fetched")
        for start in range(0, len(wanted), _BATCH):
            first, *others = (each.hex() for each in wanted[start : start + _BATCH])
            try:
                more, _ = await self._pack(first, FetchShape(depth=0, also=tuple(others)), blobless=False)
            except GitReferenceNotFound:
                self.debug("the server does not give single contents of files: the commit is fetched with all of them")
                more, _ = await self._pack(want, shape, blobless=False)
                packs.append(more)
                break
            packs.append(more)
        return Fetched(packs=tuple(packs), objects=Packs(packs) if len(packs) > 1 else pack, form=form)

    async def _pack(self, want: str, shape: FetchShape, *, blobless: bool) -> tuple[Pack, str]:
        path = self.folder / f"{UNFINISHED}-{len(list(self.folder.iterdir()))}"
        file = self.files.enter_context(path.open("w+b"))

        def store(data: bytes) -> None:
            self.budget.spend(len(data))
            try:
                file.write(data)
            except OSError as error:
                raise DiskFailed(error) from error  # by itself it would look like a failure of the connection

        try:
            form = await self.remote.pack(self.repository, want, write=store, blobless=blobless, shape=shape)
        except GitReferenceNotFound:
            path.unlink()
            raise
        file.flush()
        self.debug(f"received {file.tell()} bytes")
        return await asyncio.to_thread(Pack, file.fileno(), form, pack_limits(self.limits)), form


def pack_limits(limits: CloneLimits) -> PackLimits:
    """The defaults, and more where more may be written: objects are never fewer than files, nor smaller inflated."""
    default = PackLimits()
    return replace(
        default,
        inflated_bytes=max(default.inflated_bytes, 2 * limits.max_bytes),
        objects=max(default.objects, 2 * limits.max_files),
    )
