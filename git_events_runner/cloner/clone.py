"""One clone: which commit, its pack, its files; tried again for a bounded time when the network fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from git_events_runner.edges.git import Limits, Remote
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
from git_events_runner.errors import (
    ConfigError,
    GitCutOff,
    GitRateLimited,
    GitReferenceNotFound,
    GitTimeout,
    GitUnreachable,
)
from git_events_runner.resources.clone_options import CloneOptions

from .budget import Budget, CloneLimits
from .changes import ChangesRequest, Cloning, list_changes
from .checkout import Checkout, check_out
from .commits import cut_commits, tree_and_parents, tree_of
from .fetching import Fetched, Fetching, pack_limits
from .gitfolder import keep
from .gitindex import Index
from .lfs import MOST_POINTERS, LfsFiles, api_url
from .pack import COMMIT
from .sparse import Selects, selecting
from .submodules import MOST_SUBMODULES, Submodules, parent_of
from .tags import packed_refs, tags_of

if TYPE_CHECKING:
    from git_events_runner.edges.git.http.lfs import LfsClient

# A clone may take as long as its Job; a server that falls silent is given up long before.
# The controller has sent requests with the same key, within the bounds of its configuration, which a Job does not know.
_PATIENT = Limits(deadline_s=3600.0, idle_s=60.0, key_bits=16_384, key_rounds=4096)
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
class CloneRequest:
    """What to clone, and where to. `owned`: the destination is a run's own volume, so leftovers in it may go.

    `limits`: how much may be written there. `found_by`: the branch or tag that the commit was found by. `changes`: the
    list of changed files to write, if any. `options`: how much of the repository.
    """

    repository: Repository
    reference: Reference
    destination: Path
    preserve_git_folder: bool
    owned: bool
    limits: CloneLimits = field(default_factory=CloneLimits)
    found_by: Reference | None = None
    changes: ChangesRequest | None = None
    options: CloneOptions = field(default_factory=CloneOptions)


def exchange_limits(limits: CloneLimits) -> Limits:
    """Limits of a clone's requests: long time-outs; what frames the pack may be as large as the pack."""
    return replace(_PATIENT, pack_bytes=2 * limits.max_bytes)


async def clone(
    remote: Remote,
    request: CloneRequest,
    *,
    warn: Callable[[str], None],
    debug: Callable[[str], None],
    pauses_s: Sequence[float] = PAUSES_S,
    lfs: LfsClient | None = None,
) -> Cloned:
    """Clone one commit without history; failures of the network are tried again after each of the delays.

    What would fail in the same way again is not: an answer that is no git, a broken pack, a refused path.

    Raises:
        ConfigError: The destination cannot be used.
        UnsafeTree: The commit must not be written.
        CloneTooLarge: The limits do not allow it.
        GitError: The class names the failure.
        DiskFailed: The disk is full or not writable, as the pack arrives.
        OSError: Or after it.
    """
    prepare(request.destination, owned=request.owned)
    for pause_s in (*pauses_s, None):
        try:
            return await _clone_or_clean(remote, lfs, request, warn=warn, debug=debug)
        except (GitUnreachable, GitTimeout, GitRateLimited, GitCutOff) as error:
            wait_s = max(pause_s or 0.0, getattr(error, "retry_after_s", 0.0))
            if pause_s is None or wait_s > _PATIENCE_S:
                raise
            warn(f"{error}; trying again in {wait_s:.0f} s")
            await asyncio.sleep(wait_s)
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
        # The marker's folder is removed last, so that an interrupted cleaning is recognised as well.
        for entry in sorted(found, key=lambda each: each.name == ".git"):
            remove(entry)
    except OSError as error:
        raise ConfigError(f"the destination {destination} cannot be used: {error.strerror}") from error


def remove(entry: Path) -> None:
    """Remove a file, a link (never its target) or a folder with all in it."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


async def _clone_or_clean(
    remote: Remote,
    lfs: LfsClient | None,
    request: CloneRequest,
    *,
    warn: Callable[[str], None],
    debug: Callable[[str], None],
) -> Cloned:
    """A clone, or an empty folder again: the next user of the volume has no partial clone, and all space."""
    try:
        return await _clone_once(remote, lfs, request, warn=warn, debug=debug)
    except BaseException:
        for entry in sorted(request.destination.iterdir(), key=lambda each: each.name == ".git"):
            if entry.name != _KEPT:
                with contextlib.suppress(OSError):
                    remove(entry)
        raise


async def _clone_once(
    remote: Remote,
    lfs: LfsClient | None,
    request: CloneRequest,
    *,
    warn: Callable[[str], None],
    debug: Callable[[str], None],
) -> Cloned:
    answer, reference = await remote.commit_of(GitRequest(request.repository, request.reference)), request.reference
    tag_object = answer.tag_object
    if request.found_by is not None and request.preserve_git_folder:
        tag_object = await _tag_object(remote, request.repository, request.found_by, answer.commit)
        reference = request.found_by
    debug(f"{request.reference} is commit {answer.commit}")
    git_folder = request.destination / ".git"
    packs = git_folder / "objects" / "pack"
    packs.mkdir(parents=True)
    (git_folder / _MARKER).touch()
    budget, selects = Budget(request.limits), selecting(request.options.sparse)
    with ExitStack() as files:
        fetching = Fetching(
            remote=remote,
            repository=request.repository,
            folder=packs,
            limits=request.limits,
            budget=budget,
            debug=debug,
            files=files,
        )
        tags = await tags_of(remote, request.repository) if request.options.tags and request.preserve_git_folder else {}
        want = (request.preserve_git_folder and tag_object) or answer.commit
        fetched = await fetching.commit(want, answer.commit, request.options, selects)
        out = await asyncio.to_thread(_unpack, fetched, request, answer.commit, budget, selects, warn)
        tree = tree_of(fetched.objects, bytes.fromhex(answer.commit))
        directory = os.open(request.destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        files.callback(os.close, directory)
        if lfs is not None and out.contents:
            lfs_files = LfsFiles(
                client=lfs,
                repository=request.repository,
                url=api_url(request.repository, fetched.objects, tree),
                directory=directory,
                scratch=git_folder / "lfs",
                budget=budget,
                index=out.index,
            )
            out.size_bytes += await lfs_files.fetch(out.contents)
        if request.options.submodules:
            submodules = Submodules(
                remote=remote,
                lfs=lfs,
                source=request.repository,
                hosts=request.options.submodule_hosts,
                destination=directory,
                scratch=git_folder,
                limits=request.limits,
                budget=budget,
                shared=request.owned,
                warn=warn,
                debug=debug,
            )
            await submodules.clone(parent_of(request.repository.url, fetched.objects, tree, out))
            out.files += submodules.files
            out.size_bytes += submodules.size_bytes
        if out.index is not None:
            await asyncio.to_thread(_keep, fetched, request, (reference, answer.commit, tag_object), budget, out.index)
        if request.changes is not None:
            cloning = Cloning(
                repository=request.repository,
                commit=answer.commit,
                pack=fetched.objects,
                limits=pack_limits(request.limits),
                budget=budget,
                most_files=request.limits.max_files,
                scratch=git_folder,
            )
            await list_changes(remote, request.changes, cloning, warn=warn, pauses_s=PAUSES_S)
        if packed := packed_refs(tags, fetched.objects, warn):
            (git_folder / "packed-refs").write_bytes(packed)
    if request.preserve_git_folder:
        (git_folder / _MARKER).unlink()
    else:
        shutil.rmtree(git_folder)
    return Cloned(commit=answer.commit, files=out.files, size_bytes=out.size_bytes)


async def _tag_object(remote: Remote, repository: Repository, reference: Reference, commit: str) -> str | None:
    """The annotated tag that a commit was found by, if it still is there."""
    if reference.type == "branch":
        return None
    try:
        answer = await remote.commit_of(GitRequest(repository, reference))
    except GitReferenceNotFound:
        return None
    return answer.tag_object if answer.commit == commit else None


def _unpack(
    fetched: Fetched,
    request: CloneRequest,
    commit: str,
    budget: Budget,
    selects: Selects | None,
    warn: Callable[[str], None],
) -> Checkout:
    """Write the commit's files."""
    objects = fetched.objects
    commit_id = bytes.fromhex(commit)
    if objects.kind(commit_id) not in {COMMIT, None}:
        raise GitReferenceNotFound(f"{commit} is not a commit")
    tree, _ = tree_and_parents(objects.read(commit_id, COMMIT), objects.id_bytes)
    index = Index(sha256=fetched.form == "sha256") if request.preserve_git_folder else None
    directory = os.open(request.destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        out = check_out(
            objects,
            tree,
            directory,
            warn,
            shared=request.owned,
            budget=budget,
            index=index,
            selects=selects,
            most_gitlinks=MOST_SUBMODULES if request.options.submodules else 0,
            most_pointers=MOST_POINTERS if request.options.lfs else 0,
        )
    finally:
        os.close(directory)
    return out


def _keep(
    fetched: Fetched, request: CloneRequest, wanted: tuple[Reference, str, str | None], budget: Budget, index: Index
) -> None:
    """Make `.git` a repository that is to stay."""
    reference, commit, tag_object = wanted
    keep(
        request.destination / ".git",
        fetched.packs,
        url=str(request.repository),
        reference=reference,
        commit=commit,
        tag_object=tag_object,
        index=index,
        cut=cut_commits(fetched.packs[0]),
        partial=len(fetched.packs) > 1 or request.options.blobless,
        sparse=request.options.sparse,
        spend=budget.spend,
    )
