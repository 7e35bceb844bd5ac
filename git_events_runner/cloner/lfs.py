"""Puts contents of Git LFS in place of the pointers that a commit has, with hash and size checked."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yarl import URL

from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.errors import ConfigError, GitEventsRunnerError, single

from .budget import Budget, CloneTooLarge, DiskFailed
from .deltas import tree_entries
from .gitconfig import BrokenConfig, entries
from .gitindex import Index
from .objects import Objects
from .pack import BLOB, TREE
from .pointers import Pointer
from .sparse import LFS_CONFIG

if TYPE_CHECKING:
    from git_events_runner.edges.git.http.lfs import Download, LfsClient, LfsObject

MOST_POINTERS = 100_000
_TOGETHER = 4
_BATCH = 100
_BEFORE_NS = 2 * 10**9
_REGULAR = 0o100000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class LfsFiles:
    """The files of one repository, which is written below an open directory; `url` is that of the LFS server's API."""

    client: LfsClient
    repository: Repository
    url: str
    directory: int
    scratch: Path
    budget: Budget
    index: Index | None = None

    async def fetch(self, pointers: Sequence[Pointer]) -> int:
        """Replace pointers by their contents; how many bytes these have.

        Raises:
            CloneTooLarge: They are too many or too large.
            GitError: The class names the failure; the message names the path.
            DiskFailed: The disk is full or not writable.
        """
        from git_events_runner.edges.git.http.lfs import LfsObject

        if len(pointers) > MOST_POINTERS:
            raise CloneTooLarge(f"the commit has more than {MOST_POINTERS} files in Git LFS")
        by_oid: dict[str, list[Pointer]] = {}
        for pointer in pointers:
            by_oid.setdefault(pointer.oid, []).append(pointer)
        groups = list(by_oid.values())
        self.scratch.mkdir()
        try:
            for start in range(0, len(groups), _BATCH):
                await self._fetch_batch(
                    {LfsObject(oid=group[0].oid, size=group[0].size): group for group in groups[start : start + _BATCH]}
                )
        finally:
            shutil.rmtree(self.scratch)
        return sum(pointer.size for pointer in pointers)

    async def _fetch_batch(self, groups: dict[LfsObject, list[Pointer]]) -> None:
        try:
            downloads = await self.client.batch(self.repository, self.url, list(groups))
        except GitEventsRunnerError as error:
            raise self._named(error, groups) from error
        slots = asyncio.Semaphore(_TOGETHER)

        async def one(wanted: LfsObject, group: list[Pointer]) -> None:
            async with slots:
                await self._fetch_one(wanted, downloads[wanted.oid], group)

        try:
            async with asyncio.TaskGroup() as tasks:
                for wanted, group in groups.items():
                    tasks.create_task(one(wanted, group))
        except BaseExceptionGroup as failed:
            raise single(failed) from failed

    async def _fetch_one(self, wanted: LfsObject, download: Download, group: Sequence[Pointer]) -> None:
        path = self.scratch / wanted.oid
        try:
            with path.open("xb") as file:

                def store(data: bytes) -> None:
                    self.budget.spend(len(data))
                    try:
                        file.write(data)
                    except OSError as error:
                        raise DiskFailed(error) from error

                await self.client.download(wanted, download, store)
        except GitEventsRunnerError as error:
            raise self._named(error, {wanted: list(group)}) from error
        await asyncio.to_thread(self._put_all, path, group)

    def _put_all(self, content: Path, group: Sequence[Pointer]) -> None:
        """Put a content in place of each of its pointers: a copy for all but the last."""
        for pointer in group[:-1]:
            copy = content.with_name(f"{content.name}.copy")
            self.budget.spend(pointer.size)
            shutil.copyfile(content, copy)
            self._put(copy, pointer)
        self._put(content, group[-1])

    def _put(self, content: Path, pointer: Pointer) -> None:
        *above, name = pointer.path.split(b"/")
        directory = os.dup(self.directory)
        try:
            for part in above:
                below = os.open(part, _DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = below
            content.chmod(pointer.mode)
            # Older than the index, or git would compare the content with the pointer ("racily clean").
            before_ns = content.stat().st_mtime_ns - _BEFORE_NS
            os.utime(content, ns=(before_ns, before_ns))
            os.rename(content, name, dst_dir_fd=directory)
            if self.index is not None and pointer.entry >= 0:
                self.index.put_stat(pointer.entry, os.lstat(name, dir_fd=directory))
        finally:
            os.close(directory)

    def _named(self, error: GitEventsRunnerError, groups: dict[LfsObject, list[Pointer]]) -> GitEventsRunnerError:
        """The error with the path of the content that it is about, or of the first one."""
        text = str(error)
        group = next((group for wanted, group in groups.items() if wanted.oid in text), next(iter(groups.values())))
        more = "" if any(wanted.oid in text for wanted in groups) or len(groups) == 1 else " and others"
        error.args = (f"file {shown(os.fsdecode(group[0].path))}{more} in Git LFS: {error}", *error.args[1:])
        return error


def api_url(repository: Repository, objects: Objects, tree: bytes) -> str:
    """The URL of the LFS server's API: what `.lfsconfig` names, at the source's own path; else git-lfs's default.

    Raises:
        ConfigError: It is at another host, or the source has no http(s) URL.
    """
    configured = _configured(objects, tree)
    if repository.scheme == "ssh":
        raise ConfigError(f"{repository}: spec.actionJob.clone.lfs needs a source with an http or https URL")
    base = repository.url.rstrip("/")
    if configured is None:
        return f"{base}/info/lfs" if base.endswith(".git") else f"{base}.git/info/lfs"
    try:
        same = URL(configured).origin() == URL(base).origin() and URL(configured).user is None
    except ValueError:
        same = False
    if not same:
        raise ConfigError(
            f"{repository}: .lfsconfig names the LFS server {shown(configured)}, and only one at the source's own "
            "scheme, host and port is used"
        )
    return configured.rstrip("/")


def _configured(objects: Objects, tree: bytes) -> str | None:
    for octal, name, object_id in tree_entries(objects.read(tree, TREE), objects.id_bytes):
        if name == LFS_CONFIG and int(octal, 8) & 0o170000 == _REGULAR:
            try:
                found = [
                    value
                    for section, below, key, value in entries(objects.read(object_id, BLOB))
                    if (section, below, key) == ("lfs", "", "url")
                ]
            except BrokenConfig as error:
                raise ConfigError(f".lfsconfig: {error}") from error
            return found[-1] if found else None
    return None
