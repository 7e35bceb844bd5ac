"""Writing a commit's files, so that nothing in the repository can write outside of the destination.

Every step is relative to an open directory and follows no link (openat(2) with O_NOFOLLOW, O_EXCL): a tree that holds
a link and a directory of the same name is refused, not written through. Names that git refuses are refused: `..`,
`.git` in every disguise of NTFS and HFS+ (git's `verify_path`; CVE-2014-9390, CVE-2019-1353). A link is made as it is,
wherever it leads, as git does it: the files of a repository are no boundary for the code that comes with them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from git_events_runner.edges.git.question import shown
from git_events_runner.errors import GitEventsRunnerError, GitTooLarge

from .budget import Budget
from .pack import BLOB, TREE, Pack, tree_entries

_LINK, _SUBMODULE, _TREE, _FILE = 0o120000, 0o160000, 0o040000, 0o100000
_FILE_MODE, _PROGRAM_MODE, _DIRECTORY_MODE = 0o644, 0o755, 0o755
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Open directories while writing; git itself limits paths to 4096 bytes.
_DEPTH = 256
_PATH_BYTES = 4096
# Names in which nothing can be hidden; all others are judged by dulwich, which takes a while to import.
_PLAIN = re.compile(
    rb"(?!\.[gG][iI][tT](?![A-Za-z0-9_-]))\.?[A-Za-z0-9_@+=,-](?:[A-Za-z0-9_@+=,.-]*[A-Za-z0-9_@+=,-])?\Z"
)
_LFS = b"version https://git-lfs.github.com/spec/v1"
_LFS_MOST_BYTES = 1024
_NAMED = 5
# In a Job, cloner and worker are different users of one group (the pod's fsGroup): the worker may change what it got.
_GROUP_MAY_WRITE = 0o020


class UnsafeTree(GitEventsRunnerError):
    """The commit holds a path that must not be written."""


@dataclass(frozen=True, slots=True)
class Written:
    """A path as it now lies on the disk: what git's index wants to know."""

    path: bytes
    mode: int
    object_id: bytes
    found: os.stat_result


@dataclass(slots=True)
class Checkout:
    """What was written so far; `extra_mode` is added to every mode on the disk."""

    budget: Budget
    extra_mode: int = 0
    written: list[Written] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    submodules: list[str] = field(default_factory=list)
    pointers: list[str] = field(default_factory=list)


def check_name(name: bytes, path: bytes) -> None:
    """Let only names pass that are one step down, and not git's own folder on any file system.

    Raises:
        UnsafeTree: The name is refused.
    """
    if _PLAIN.match(name):
        return
    from dulwich.index import (
        validate_path_element_default,
        validate_path_element_hfs,
        validate_path_element_ntfs,
    )

    readable = name.decode("utf-8", "ignore").encode()  # HFS+ knows no others
    if (
        not name
        or b"/" in name
        or b"\0" in name
        or name in {b".", b".."}
        or not validate_path_element_default(name)
        or not validate_path_element_ntfs(name)
        or (readable and not validate_path_element_hfs(readable))
    ):
        raise UnsafeTree(f"the commit holds the path {shown(os.fsdecode(path))}, which git does not allow")


def check_out(
    pack: Pack, tree: bytes, destination: int, warn: Callable[[str], None], *, budget: Budget, shared: bool = False
) -> Checkout:
    """Write all files of a tree below an open, empty directory (but for `.git`); `shared`: the group may write.

    Raises:
        UnsafeTree: A path is refused; what was written until then lies there.
        GitTooLarge: Folders are nested too deeply.
        CloneTooLarge: There are more bytes or files than the budget has.
        GitProtocolError: The pack lacks something.
        OSError: The disk is full or not writable.
    """
    out = Checkout(budget=budget, extra_mode=_GROUP_MAY_WRITE if shared else 0)
    _write_tree(pack, tree, destination, b"", out, 0)
    if out.submodules:
        warn(f"submodules are not cloned, their folders are left empty: {_few(out.submodules)}")
    if out.pointers:
        warn(f"files in Git LFS are not fetched, their pointers are left as they are: {_few(out.pointers)}")
    return out


def _few(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f", … ({len(names)})" if len(names) > _NAMED else "")


def _write_tree(pack: Pack, tree: bytes, directory: int, prefix: bytes, out: Checkout, depth: int) -> None:
    if depth > _DEPTH:
        raise GitTooLarge(f"the commit's folders are nested more than {_DEPTH} deep")
    if pack.kind(tree) not in {TREE, None}:
        raise UnsafeTree(f"{shown(os.fsdecode(prefix))} is not a folder although it says so")
    for mode, name, object_id in tree_entries(pack.read(tree, TREE), pack.id_bytes):
        path = prefix + name
        check_name(name, path)
        if len(path) > _PATH_BYTES:
            raise GitTooLarge(f"the commit has a path over {_PATH_BYTES} bytes")
        out.budget.spend_entry()
        try:
            kind = stat.S_IFMT(mode)
            if kind == _TREE:
                os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)
                below = os.open(name, _DIRECTORY, dir_fd=directory)
                try:
                    os.fchmod(below, _DIRECTORY_MODE | out.extra_mode)
                    _write_tree(pack, object_id, below, path + b"/", out, depth + 1)
                finally:
                    os.close(below)
                continue
            if kind == _SUBMODULE:
                os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)
                written_mode = _SUBMODULE
                out.submodules.append(shown(os.fsdecode(path)))
            else:
                written_mode = _write_file(pack, object_id, mode, path, directory, out)
        except FileExistsError as error:
            raise UnsafeTree(
                f"the commit holds two entries that are one path here: {shown(os.fsdecode(path))}"
            ) from error
        out.written.append(Written(path, written_mode, object_id, os.lstat(name, dir_fd=directory)))


def _write_file(pack: Pack, object_id: bytes, mode: int, path: bytes, directory: int, out: Checkout) -> int:
    """Write a file or link; gives the mode that git's index records."""
    name, kind = path.rpartition(b"/")[2], stat.S_IFMT(mode)
    if pack.kind(object_id) not in {BLOB, None} or kind not in {_LINK, _FILE}:
        raise UnsafeTree(f"{shown(os.fsdecode(path))} is not a file although it says so")
    out.files += 1
    if kind == _LINK:
        target = bytearray()

        def collect(part: bytes) -> None:
            target.extend(part)
            if len(target) >= _PATH_BYTES:
                raise UnsafeTree(f"the link {shown(os.fsdecode(path))} has a target over {_PATH_BYTES} bytes")

        out.size_bytes += pack.write(object_id, BLOB, collect)
        if b"\0" in target or not target:
            raise UnsafeTree(f"the link {shown(os.fsdecode(path))} leads nowhere")
        os.symlink(bytes(target), name, dir_fd=directory)
        return _LINK
    program = bool(mode & 0o100)
    front = bytearray()
    with os.fdopen(os.open(name, _NEW_FILE, _FILE_MODE, dir_fd=directory), "wb", buffering=0) as file:

        def store(part: bytes) -> None:
            out.budget.spend(len(part))
            if len(front) < len(_LFS):
                front.extend(part[: len(_LFS)])
            rest = memoryview(part)
            while rest:
                rest = rest[file.write(rest) :]

        size = pack.write(object_id, BLOB, store)
        os.fchmod(file.fileno(), (_PROGRAM_MODE if program else _FILE_MODE) | out.extra_mode)
    out.size_bytes += size
    if size < _LFS_MOST_BYTES and front.startswith(_LFS):
        out.pointers.append(shown(os.fsdecode(path)))
    return stat.S_IFREG | (_PROGRAM_MODE if program else _FILE_MODE)
