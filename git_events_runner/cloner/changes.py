"""Lists the files that differ between the previous commit and the cloned one, in a folder next to the repository."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_events_runner.edges.git import Remote
from git_events_runner.edges.git.request import Repository, is_object_id
from git_events_runner.errors import (
    GitCutOff,
    GitEventsRunnerError,
    GitProtocolError,
    GitRateLimited,
    GitReferenceNotFound,
    GitTimeout,
    GitTooLarge,
    GitUnreachable,
)
from git_events_runner.resources.changes import ABSENT_FILE, CHANGES_VARIABLE, FILE, NUL_FILE, PREVIOUS_VARIABLE

from .budget import Budget, DiskFailed
from .commits import tree_of
from .differences import differences, quoted
from .objects import Objects
from .pack import Pack, PackLimits

_MOST_BYTES = 32 * 2**20
_TRANSIENT = (GitUnreachable, GitTimeout, GitRateLimited, GitCutOff)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesRequest:
    """The file for the list, and the commit to compare with; None: there is none, because of `reason`."""

    folder: Path
    previous: str | None
    reason: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ChangesRequest | None:
        """As the controller renders it into Jobs; None: no list is wanted."""
        folder = environment.get(CHANGES_VARIABLE, "")
        if not folder:
            return None
        previous = environment.get(PREVIOUS_VARIABLE, "")
        if is_object_id(previous):
            return cls(folder=Path(folder), previous=previous)
        reason = previous.removeprefix("none:").strip() or "no previous commit is recorded"
        return cls(folder=Path(folder), previous=None, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloning:
    """The clone whose changes are listed: its pack, what it may still write, and a folder for temporary files."""

    repository: Repository
    commit: str
    pack: Objects
    limits: PackLimits
    budget: Budget
    most_files: int
    scratch: Path


async def list_changes(
    remote: Remote,
    request: ChangesRequest,
    cloning: Cloning,
    *,
    warn: Callable[[str], None],
    pauses_s: Sequence[float],
) -> None:
    """Write the list, or why there is none: the clone is of use without it, so that nothing of this fails it.

    Failures of the network are tried again after each of the delays.
    """
    try:
        reason = request.reason
        if request.previous is not None:
            reason = await _listed(remote, request.folder, request.previous, cloning, pauses_s)
        if reason:
            await asyncio.to_thread(_write_absent, request.folder, reason)
            if request.previous is not None:
                warn(f"changed files are not listed: {reason}")
    except OSError as error:
        warn(f"changed files are not listed: cannot write to {request.folder}: {error.strerror}")


async def _listed(remote: Remote, folder: Path, previous: str, cloning: Cloning, pauses_s: Sequence[float]) -> str:
    """Write the list; why that is not possible, or an empty text."""
    for pause_s in (*pauses_s, None):
        try:
            await _list_once(remote, folder, previous, cloning)
        except _TRANSIENT as error:
            if pause_s is None:
                return f"the previous commit cannot be fetched: {error}"
            await asyncio.sleep(pause_s)
        except GitReferenceNotFound:
            return f"the git server does not give the previous commit {previous}"
        except (GitTooLarge, GitProtocolError) as error:
            return f"the files of the previous commit {previous} cannot be compared: {error}"
        except GitEventsRunnerError as error:
            return f"the previous commit cannot be fetched: {error}"
        else:
            return ""
    raise AssertionError("the last try returns")  # pragma: no cover


async def _list_once(remote: Remote, folder: Path, previous: str, cloning: Cloning) -> None:
    old_id = bytes.fromhex(previous)
    if old_id in cloning.pack:
        await asyncio.to_thread(_write, folder, cloning, cloning.pack, old_id)
        return
    spent = 0
    with tempfile.TemporaryFile(dir=cloning.scratch) as file:
        try:

            def store(data: bytes) -> None:
                nonlocal spent
                cloning.budget.spend(len(data))
                spent += len(data)
                try:
                    file.write(data)
                except OSError as error:
                    raise DiskFailed(error) from error

            form = await remote.pack(cloning.repository, previous, write=store, blobless=True)
            file.flush()
            await asyncio.to_thread(_compare, folder, cloning, file.fileno(), form, old_id)
        finally:
            cloning.budget.give_back(spent)


def _compare(folder: Path, cloning: Cloning, descriptor: int, form: str, old_id: bytes) -> None:
    _write(folder, cloning, Pack(descriptor, form, cloning.limits), old_id)


def _write(folder: Path, cloning: Cloning, old: Objects, old_id: bytes) -> None:
    """Both files, each complete or not there."""
    new = cloning.pack
    found = differences(
        old,
        tree_of(old, old_id),
        new,
        tree_of(new, bytes.fromhex(cloning.commit)),
        most=2 * cloning.most_files,
    )
    lines, parts = folder / f".{FILE}", folder / f".{NUL_FILE}"
    size = 0
    try:
        with lines.open("wb") as shown, parts.open("wb") as plain:
            for status, path in found:
                line = b"%s\t%s\n" % (status, quoted(path))
                size += len(line)
                if size > _MOST_BYTES:
                    raise GitTooLarge(f"the list has more than {_MOST_BYTES} bytes")
                shown.write(line)
                plain.write(b"%s\0%s\0" % (status, path))
        (folder / ABSENT_FILE).unlink(missing_ok=True)
        parts.replace(folder / NUL_FILE)
        lines.replace(folder / FILE)
    finally:
        for path_ in (lines, parts):
            with contextlib.suppress(FileNotFoundError):
                path_.unlink()


def _write_absent(folder: Path, reason: str) -> None:
    for name in (FILE, NUL_FILE):
        (folder / name).unlink(missing_ok=True)
    half = folder / f".{ABSENT_FILE}"
    half.write_bytes(os.fsencode(reason) + b"\n")
    half.replace(folder / ABSENT_FILE)
