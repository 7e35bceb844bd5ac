"""Clones the submodules of a commit into their folders, in bounds, from hosts that are allowed.

A submodule's URL is written by the authors of the repository, so that it decides nothing about credentials: they go to
the source's own host, by its own scheme and port, and nowhere else (gitmodules, gitsubmodules; relative URLs as
`relative_url` of git's remote.c).
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from yarl import URL

from git_events_runner.edges.git import Remote
from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.errors import ConfigError, GitEventsRunnerError
from git_events_runner.resources.clone_options import CloneOptions
from git_events_runner.resources.ssh import SshAddress

from .budget import Budget, CloneLimits, CloneTooLarge
from .checkout import Checkout, check_out
from .commits import tree_of
from .deltas import tree_entries
from .fetching import Fetched, Fetching
from .gitconfig import BrokenConfig, entries
from .lfs import MOST_POINTERS, LfsFiles, api_url
from .objects import Objects
from .pack import BLOB, TREE
from .sparse import MODULES

if TYPE_CHECKING:
    from git_events_runner.edges.git.http.lfs import LfsClient

MOST_SUBMODULES = 100
_DEPTH = 8
_REGULAR = 0o100000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PORTS = {"http": 80, "https": 443}
_GROUP_MODE = 0o775


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A commit that is written already, and where: its submodules are cloned next, each from its path's URL."""

    url: str
    gitlinks: tuple[tuple[bytes, bytes], ...]
    urls: Mapping[bytes, str]
    folder: bytes


@dataclass(slots=True, kw_only=True)
class Submodules:
    """Clones submodules below an open directory, with the bounds of the complete clone."""

    remote: Remote
    lfs: LfsClient | None
    source: Repository
    hosts: tuple[str, ...]
    destination: int
    scratch: Path
    limits: CloneLimits
    budget: Budget
    shared: bool
    warn: Callable[[str], None]
    debug: Callable[[str], None]
    files: int = 0
    size_bytes: int = 0
    _count: int = 0

    async def clone(self, parent: Parent, depth: int = 1) -> None:
        """Clone all submodules of a commit, and theirs.

        Raises:
            ConfigError: A submodule has no URL, or is at a host that is not allowed.
            CloneTooLarge: They are too many, too deeply nested, or too large.
            GitError: The class names the failure; the message names the submodule.
        """
        for path, commit in parent.gitlinks:
            full = parent.folder + path
            name = shown(os.fsdecode(full))
            self._count += 1
            if self._count > MOST_SUBMODULES or depth > _DEPTH:
                raise CloneTooLarge(
                    f"the commit has more than {MOST_SUBMODULES} submodules, or nested more than {_DEPTH} deep"
                )
            try:
                repository = self._allowed(_resolved(parent, path))
                self.debug(f"submodule {name}: {repository} at {commit.hex()}")
                below = await self._clone_one(repository, commit, full)
            except GitEventsRunnerError as error:
                error.args = (f"submodule {name}: {error}", *error.args[1:])
                raise
            await self.clone(below, depth + 1)

    async def _clone_one(self, repository: Repository, commit: bytes, path: bytes) -> Parent:
        before, packed = self.budget.left_bytes, 0
        folder = self.scratch / "submodule"
        folder.mkdir()
        files = ExitStack()
        try:
            with files:
                fetching = Fetching(
                    remote=self.remote,
                    repository=repository,
                    folder=folder,
                    limits=self.limits,
                    budget=self.budget,
                    debug=self.debug,
                    files=files,
                )
                fetched = await fetching.commit(commit.hex(), commit.hex(), CloneOptions(), None)
                packed = before - self.budget.left_bytes
                return await self._write(repository, fetched, commit, path)
        finally:
            shutil.rmtree(folder)
            self.budget.give_back(packed)

    async def _write(self, repository: Repository, fetched: Fetched, commit: bytes, path: bytes) -> Parent:
        tree = tree_of(fetched.objects, commit)
        directory = self._opened(path)
        try:
            out = await asyncio.to_thread(
                check_out,
                fetched.objects,
                tree,
                directory,
                self.warn,
                budget=self.budget,
                shared=self.shared,
                most_gitlinks=MOST_SUBMODULES,
                most_pointers=MOST_POINTERS if self.lfs is not None else 0,
            )
            if self.lfs is not None and out.contents:
                files = LfsFiles(
                    client=self.lfs,
                    repository=repository,
                    url=api_url(repository, fetched.objects, tree),
                    directory=directory,
                    scratch=self.scratch / "lfs",
                    budget=self.budget,
                )
                out.size_bytes += await files.fetch(out.contents)
        finally:
            os.close(directory)
        self.files += out.files
        self.size_bytes += out.size_bytes
        return parent_of(str(repository.url), fetched.objects, tree, out, path + b"/")

    def _opened(self, path: bytes) -> int:
        """The folder of a submodule, which is there and empty; no link is followed on the way."""
        directory = os.dup(self.destination)
        try:
            for name in path.split(b"/"):
                below = os.open(name, _DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = below
            if self.shared:
                os.fchmod(directory, _GROUP_MODE)
        except OSError:
            os.close(directory)
            raise
        return directory

    def _allowed(self, url: str) -> Repository:
        """The repository at a URL, with the source's credential where that may go.

        Raises:
            ConfigError: The host is not allowed.
            GitUnsupported: It is no URL of a git server.
        """
        found = Repository(url=url)
        found.check()
        place, own = _place(found), _place(self.source)
        if place == own:
            return replace(self.source, url=url)
        host = place[1]
        if host != own[1] and not {host, f"{host}:{place[2]}"} & set(self.hosts):
            raise ConfigError(
                f"{found} is on another host than the source; if it may be cloned from there, add {host} to "
                "spec.actionJob.clone.submoduleHosts"
            )
        if found.scheme == "ssh":
            raise ConfigError(
                f"{found} needs a credential, and that of the source is only for its own host, scheme and port; use a "
                "relative URL in .gitmodules"
            )
        return found


def parent_of(url: str, objects: Objects, tree: bytes, out: Checkout, folder: bytes = b"") -> Parent:
    """What was just written, as the parent of its submodules.

    Raises:
        ConfigError: Its `.gitmodules` is broken.
    """
    urls = _urls(_content(objects, tree)) if out.gitlinks else {}
    return Parent(url=url, gitlinks=tuple(out.gitlinks), urls=urls, folder=folder)


def relative_url(parent: str, url: str) -> str:
    """The URL that a submodule's relative one means, below its parent's.

    >>> relative_url("https://git.example/team/app.git", "../lib.git")
    'https://git.example/team/lib.git'
    >>> relative_url("git@git.example:app", "../lib")
    'git@git.example:lib'
    """
    base, mark = parent.removesuffix("/"), "/"
    while True:
        if url.startswith("../"):
            url = url[3:]
            cut = max(base.rfind("/"), -1)
            if cut < 0:
                cut, mark = base.rfind(":"), ":"
            if cut < 0:
                raise ConfigError("the relative URL points above the host")
            base = base[:cut]
        elif url.startswith("./"):
            url = url[2:]
        else:
            return f"{base}{mark}{url}".removesuffix("/")


def _resolved(parent: Parent, path: bytes) -> str:
    url = parent.urls.get(path)
    if not url:
        raise ConfigError(".gitmodules has no URL for it")
    return relative_url(parent.url, url) if url.startswith(("./", "../")) else url


def _urls(content: bytes) -> dict[bytes, str]:
    """URL of each path in `.gitmodules`."""
    found: dict[str, dict[str, str]] = {}
    try:
        for section, name, key, value in entries(content):
            if section == "submodule" and name and value is not None:
                found.setdefault(name, {})[key] = value
    except BrokenConfig as error:
        raise ConfigError(f".gitmodules: {error}") from error
    return {os.fsencode(one["path"].rstrip("/")): one["url"] for one in found.values() if {"path", "url"} <= one.keys()}


def _content(objects: Objects, tree: bytes) -> bytes:
    for octal, name, object_id in tree_entries(objects.read(tree, TREE), objects.id_bytes):
        if name == MODULES and int(octal, 8) & 0o170000 == _REGULAR:
            return objects.read(object_id, BLOB)
    return b""


def _place(repository: Repository) -> tuple[str, str, int]:
    """Scheme, host and port."""
    if repository.scheme == "ssh":
        address = SshAddress.of(repository.url)
        return ("ssh", address.host, address.port) if address else ("ssh", repository.host, 0)
    url = URL(repository.url)
    return repository.scheme, (url.host or "").lower(), url.port or _PORTS[repository.scheme]
