"""One clone: which commit, its pack, its files; tried again for a bounded time when the network fails."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from git_events_runner.edges.git import Limits, Remote
from git_events_runner.edges.git.question import Question, Reference, Repository
from git_events_runner.errors import (
    ConfigError,
    GitProtocolError,
    GitRateLimited,
    GitReferenceNotFound,
    GitTimeout,
    GitUnreachable,
    GitUnsupported,
)

from .checkout import Checkout, check_out

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo

# A clone may take as long as its Job; a server that falls silent is given up long before.
CLONE_LIMITS = Limits(deadline_s=3600.0, idle_s=60.0, pack_bytes=16 * 2**30)
_MARKER = "gitrepo-cloner-unfinished"
_KEPT = "lost+found"
PAUSES_S = (2.0, 8.0)
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloned:
    """What lies at the destination now."""

    commit: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to clone, and where to. `owned`: the destination is a run's own volume, so leftovers in it may go."""

    repository: Repository
    reference: Reference
    destination: Path
    preserve_git_folder: bool
    owned: bool


async def clone(
    remote: Remote,
    wish: Wish,
    *,
    warn: Callable[[str], None],
    debug: Callable[[str], None],
    pauses_s: Sequence[float] = PAUSES_S,
) -> Cloned:
    """Clone one commit without history; failures of the network are tried again after each of the pauses.

    Raises:
        ConfigError: The destination cannot be used.
        UnsafeTree: The commit must not be written.
        GitError: By what went wrong.
        OSError: The disk is full or not writable.
    """
    prepare(wish.destination, owned=wish.owned)
    for pause_s in (*pauses_s, None):
        try:
            return await _clone_once(remote, wish, warn=warn, debug=debug)
        except (GitUnreachable, GitTimeout, GitRateLimited, GitProtocolError) as error:
            wait_s = max(pause_s or 0.0, getattr(error, "retry_after_s", 0.0))
            if pause_s is None or wait_s > _PATIENCE_S:
                raise
            warn(f"{error}; trying again in {wait_s:.0f} s")
            await asyncio.sleep(wait_s)
            prepare(wish.destination, owned=wish.owned)
    raise AssertionError("the last try returns or raises")  # pragma: no cover


def prepare(destination: Path, *, owned: bool) -> None:
    """Make the destination an empty folder.

    A Job's own volume is emptied (its init container may run again after a node's restart). Elsewhere only what an
    interrupted clone of ours left is removed; anything else is refused.

    Raises:
        ConfigError: It is not empty, not a folder, or not writable.
    """
    try:
        destination.mkdir(parents=True, exist_ok=True)
        found = [entry for entry in destination.iterdir() if entry.name != _KEPT]
        if found and not owned and not (destination / ".git" / _MARKER).exists():
            raise ConfigError(f"the destination {destination} is not empty")
        # The marker's folder goes last, so that an interrupted cleaning is recognised as well.
        for entry in sorted(found, key=lambda each: each.name == ".git"):
            remove(entry)
    except OSError as error:
        raise ConfigError(f"the destination {destination} cannot be used: {error.strerror}") from error


def remove(entry: Path) -> None:
    """Remove a file, a link (never what it leads to) or a folder with all in it."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


async def _clone_once(
    remote: Remote, wish: Wish, *, warn: Callable[[str], None], debug: Callable[[str], None]
) -> Cloned:
    from dulwich.repo import Repo

    answer = await remote.commit_of(Question(wish.repository, wish.reference))
    debug(f"{wish.reference} is commit {answer.commit}")
    git_folder = wish.destination / ".git"
    with Repo.init(wish.destination, default_branch=b"main") as repo:
        (git_folder / _MARKER).touch()
        file, finish, abort = repo.object_store.add_pack()
        try:
            form = await remote.pack(wish.repository, answer.commit, write=file.write)
            if form != "sha1":
                raise GitUnsupported(f"{wish.repository}: repositories with {form} object ids cannot be cloned yet")
        except BaseException:
            abort()
            raise
        debug(f"received {file.tell()} bytes")
        commit_id, tree, history_cut = await asyncio.to_thread(_index, repo, finish, answer.commit)
        out = await asyncio.to_thread(_write, repo, tree, wish, warn)
        if wish.preserve_git_folder:
            await asyncio.to_thread(_keep, repo, wish, commit_id, out, history_cut=history_cut)
    if wish.preserve_git_folder:
        (git_folder / _MARKER).unlink()
    else:
        shutil.rmtree(git_folder)
    return Cloned(commit=answer.commit, files=out.files, size_bytes=out.size_bytes)


def _index(repo: Repo, finish: Callable[[], object], commit: str) -> tuple[ObjectID, ObjectID, bool]:
    """Index the pack; gives the commit's id, its tree, and whether its parents were left out."""
    from dulwich.errors import ApplyDeltaError, ChecksumMismatch, ObjectFormatException
    from dulwich.objects import Commit, ObjectID

    commit_id = ObjectID(commit.encode())
    try:
        finish()
        found = repo.object_store[commit_id]
    except KeyError as error:
        raise GitProtocolError(f"the pack lacks the commit {commit}, or the base of a delta") from error
    except (ApplyDeltaError, ChecksumMismatch, ObjectFormatException, AssertionError, ValueError, EOFError) as error:
        raise GitProtocolError(f"the pack is broken: {type(error).__name__}") from error
    if not isinstance(found, Commit):
        raise GitReferenceNotFound(f"{commit} is not a commit")
    return commit_id, found.tree, any(parent not in repo.object_store for parent in found.parents)


def _write(repo: Repo, tree: ObjectID, wish: Wish, warn: Callable[[str], None]) -> Checkout:
    directory = os.open(wish.destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return check_out(repo.object_store, tree, directory, warn, shared=wish.owned)
    except KeyError as error:
        raise GitProtocolError("the pack lacks an object of the commit") from error
    finally:
        os.close(directory)


def _keep(repo: Repo, wish: Wish, commit_id: ObjectID, out: Checkout, *, history_cut: bool) -> None:
    """Make `.git` a shallow repository whose work tree is what was written; no credential goes into it."""
    from dulwich.index import index_entry_from_stat
    from dulwich.refs import Ref

    index = repo.open_index()
    for each in out.written:
        index[each.path] = index_entry_from_stat(each.found, each.object_id, mode=each.mode)
    index.write()
    if history_cut:
        repo.update_shallow({commit_id}, None)
    config = repo.get_config()
    config.set((b"remote", b"origin"), b"url", str(wish.repository).encode())
    config.set((b"remote", b"origin"), b"fetch", b"+refs/heads/*:refs/remotes/origin/*")
    config.write_to_path()
    head, name = Ref(b"HEAD"), os.fsencode(wish.reference.name)
    if wish.reference.type == "branch" and not name.startswith(b"refs/"):
        repo.refs[Ref(b"refs/heads/" + name)] = commit_id
        repo.refs[Ref(b"refs/remotes/origin/" + name)] = commit_id
        repo.refs.set_symbolic_ref(head, Ref(b"refs/heads/" + name))
        return
    if wish.reference.type == "tag" and not name.startswith(b"refs/"):
        repo.refs[Ref(b"refs/tags/" + name)] = commit_id
    # A detached head: the symbolic one that a new repository has would be written through.
    (wish.destination / ".git" / "HEAD").write_bytes(commit_id + b"\n")
