"""Writing a commit's files, so that nothing in the repository can write outside of the destination.

Every step is relative to an open directory and follows no link (openat(2) with O_NOFOLLOW, O_EXCL): a tree that holds
a link and a directory of the same name is refused, not written through. Names that git refuses are refused: `..`,
`.git` in every disguise of NTFS and HFS+ (git's `verify_path`; CVE-2014-9390, CVE-2019-1353).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from git_events_runner.edges.git.question import shown
from git_events_runner.errors import GitEventsRunnerError, GitTooLarge

if TYPE_CHECKING:
    from dulwich.object_store import PackCapableObjectStore
    from dulwich.objects import ObjectID

_LINK, _SUBMODULE, _TREE = 0o120000, 0o160000, 0o040000
_FILE_MODE, _PROGRAM_MODE, _DIRECTORY_MODE = 0o644, 0o755, 0o755
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Open directories while writing; git itself limits paths to 4096 bytes.
_DEPTH = 256
# In a Job, cloner and worker are different users of one group (the pod's fsGroup): the worker may change what it got.
_GROUP_MAY_WRITE = 0o020
_ID_BYTES = 20


class UnsafeTree(GitEventsRunnerError):
    """The commit holds a path that must not be written."""


@dataclass(frozen=True, slots=True)
class Written:
    """A path as it now lies on the disk: what git's index wants to know."""

    path: bytes
    mode: int
    object_id: ObjectID
    found: os.stat_result


@dataclass(slots=True)
class Checkout:
    """What was written so far; `extra_mode` is added to every mode on the disk."""

    extra_mode: int = 0
    written: list[Written] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    submodules: list[str] = field(default_factory=list)


def check_name(name: bytes, path: bytes) -> None:
    """Let only names pass that are one step down, and not git's own folder on any file system.

    Raises:
        UnsafeTree: The name is refused.
    """
    from dulwich.index import (
        validate_path_element_default,
        validate_path_element_hfs,
        validate_path_element_ntfs,
    )

    readable = name.decode("utf-8", "ignore").encode()
    if (
        not name
        or b"/" in name
        or b"\0" in name
        or name in {b".", b".."}
        or not validate_path_element_default(name)
        or not validate_path_element_ntfs(name)
        or not validate_path_element_hfs(readable)
    ):
        raise UnsafeTree(f"the commit holds the path {shown(os.fsdecode(path))}, which git does not allow")


def check_out(
    store: PackCapableObjectStore,
    tree: ObjectID,
    destination: int,
    warn: Callable[[str], None],
    *,
    shared: bool = False,
) -> Checkout:
    """Write all files of a tree below an open, empty directory (but for `.git`); `shared`: the group may write.

    Raises:
        UnsafeTree: A path is refused; what was written until then lies there.
        GitTooLarge: Folders are nested too deeply.
        OSError: The disk is full or not writable.
    """
    out = Checkout(extra_mode=_GROUP_MAY_WRITE if shared else 0)
    _write_tree(store, tree, destination, b"", out, 0)
    if out.submodules:
        names = ", ".join(out.submodules[:5]) + (", …" if len(out.submodules) > 5 else "")  # noqa: PLR2004 - enough to see
        warn(f"submodules are not cloned, their folders are left empty: {names}")
    return out


def _write_tree(
    store: PackCapableObjectStore, tree: ObjectID, directory: int, prefix: bytes, out: Checkout, depth: int
) -> None:
    from dulwich.objects import Blob, ObjectID, Tree, parse_tree

    if depth > _DEPTH:
        raise GitTooLarge(f"the commit's folders are nested more than {_DEPTH} deep")
    node = store[tree]
    if not isinstance(node, Tree):
        raise UnsafeTree(f"{shown(os.fsdecode(prefix))} is not a folder although it says so")
    # Not `items()`: it gives only one of two entries of the same name.
    for name, mode, found_id in parse_tree(node.as_raw_string(), _ID_BYTES):
        path, object_id = prefix + name, ObjectID(found_id)
        check_name(name, path)
        try:
            kind = stat.S_IFMT(mode)
            if kind == _TREE:
                os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)
                below = os.open(name, _DIRECTORY, dir_fd=directory)
                try:
                    os.fchmod(below, _DIRECTORY_MODE | out.extra_mode)
                    _write_tree(store, object_id, below, path + b"/", out, depth + 1)
                finally:
                    os.close(below)
                continue
            if kind == _SUBMODULE:
                os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)
                written_mode = _SUBMODULE
                out.submodules.append(shown(os.fsdecode(path)))
            else:
                blob = store[object_id]
                if not isinstance(blob, Blob):
                    raise UnsafeTree(f"{shown(os.fsdecode(path))} is not a file although it says so")
                written_mode = _write_file(blob, name, mode, directory, out)
        except FileExistsError as error:
            raise UnsafeTree(
                f"the commit holds two entries that are one path here: {shown(os.fsdecode(path))}"
            ) from error
        out.written.append(Written(path, written_mode, object_id, os.lstat(name, dir_fd=directory)))


def _write_file(blob: object, name: bytes, mode: int, directory: int, out: Checkout) -> int:
    """Write a file or link; gives the mode that git's index records."""
    chunks: list[bytes] = blob.chunked  # type: ignore[attr-defined]  # a Blob, imported by the caller only
    out.files += 1
    out.size_bytes += sum(len(chunk) for chunk in chunks)
    if stat.S_IFMT(mode) == _LINK:
        target = b"".join(chunks)
        if b"\0" in target or not target:
            raise UnsafeTree(f"the link {shown(os.fsdecode(name))} leads nowhere")
        os.symlink(target, name, dir_fd=directory)
        return _LINK
    program = bool(mode & 0o100)
    with os.fdopen(os.open(name, _NEW_FILE, _FILE_MODE, dir_fd=directory), "wb") as file:
        file.writelines(chunks)
        os.fchmod(file.fileno(), (_PROGRAM_MODE if program else _FILE_MODE) | out.extra_mode)
    return stat.S_IFREG | (_PROGRAM_MODE if program else _FILE_MODE)
