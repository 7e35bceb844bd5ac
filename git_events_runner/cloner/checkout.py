"""Writing a commit's files, so that nothing in the repository can write outside of the destination.

Every step is relative to an open directory and follows no link (openat(2) with O_NOFOLLOW, O_EXCL): a tree that holds
a link and a directory of the same name is refused, not written through; so are names that git refuses (`names`). A link
is created as it is, with any target, as git does it: the files of a repository are no boundary for the code that comes
with them. The bytes of a file are those of a `git clone`: `.gitattributes` is followed (`attributes`, `convert`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from git_events_runner.edges.git.request import shown
from git_events_runner.errors import GitTooLarge
from git_events_runner.rules.automaton import TooCostly

from .attributes import FILE, MOST_BYTES, Attributes
from .budget import Budget
from .convert import NOTHING, CannotEncode, Conversion, conversion_of, convert
from .deltas import tree_entries
from .gitindex import Index
from .names import PLAIN, UnsafeTree, check_name
from .objects import Objects
from .pack import BLOB, TREE
from .pointers import Pointer, is_pointer
from .pointers import read as read_pointer
from .sparse import Selects

_LINK, _SUBMODULE, _TREE, _FILE = 0o120000, 0o160000, 0o040000, 0o100000
_FILE_MODE, _PROGRAM_MODE, _DIRECTORY_MODE = 0o644, 0o755, 0o755
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Open directories while writing; git itself limits paths to 4096 bytes.
_DEPTH = 256
_PATH_BYTES = 4096
_LFS_FILTER = "lfs"
_NAMED = 5
_FILTERS = 16
# A larger file is written as it is in the repository: what is changed is held completely.
_CHANGED_BYTES = 256 * 2**20
# In a Job, cloner and worker are different users of one group (the pod's fsGroup): the worker may change what it got.
_GROUP_MAY_WRITE = 0o020


@dataclass(slots=True)
class _Few:
    """The first names of many, and how many there are."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: bytes) -> None:
        self.count += 1
        if self.count <= _NAMED:
            self.names.append(shown(os.fsdecode(path)))

    def __str__(self) -> str:
        return ", ".join(self.names) + (f", … ({self.count})" if self.count > _NAMED else "")


@dataclass(slots=True)
class Checkout:
    """What was written so far; `extra_mode` is added to every mode on the disk, `index` gets every path."""

    budget: Budget
    index: Index | None = None
    extra_mode: int = 0
    files: int = 0
    left_out: int = 0
    size_bytes: int = 0
    submodules: _Few = field(default_factory=_Few)
    pointers: _Few = field(default_factory=_Few)
    filters: dict[str, _Few] = field(default_factory=dict)
    unchanged: _Few = field(default_factory=_Few)
    most_gitlinks: int = 0
    gitlinks: list[tuple[bytes, bytes]] = field(default_factory=list)
    most_pointers: int = 0
    contents: list[Pointer] = field(default_factory=list)

    def add_pointer(self, path: bytes, content: bytes, mode: int, conversion: Conversion) -> None:
        """Note a pointer of Git LFS: one whose content is fetched later, or one that stays."""
        if not self.most_pointers:
            self.pointers.add(path)
        elif conversion.filter == _LFS_FILTER and len(self.contents) <= self.most_pointers:
            if (found := read_pointer(content)) is None:
                self.pointers.add(path)
            else:
                self.contents.append(Pointer(path=path, oid=found[0], size=found[1], mode=mode))

    def add_submodule(self, path: bytes, object_id: bytes) -> None:
        """Note a submodule: one that is cloned later, one more than may be cloned, or one that stays empty."""
        if not self.most_gitlinks:
            self.submodules.add(path)
        elif len(self.gitlinks) <= self.most_gitlinks:
            self.gitlinks.append((path, object_id))

    def warn(self, warn: Callable[[str], None]) -> None:
        """One line for everything that is not as after a `git clone` with all its tools."""
        if self.left_out and not self.files:
            warn("the patterns of spec.actionJob.clone.sparse select no file of the commit; nothing is written")
        if self.submodules.count:
            warn(
                "submodules are not cloned (spec.actionJob.clone.submodules), their folders are left empty: "
                f"{self.submodules}"
            )
        if self.pointers.count:
            option = "" if self.most_pointers else " (spec.actionJob.clone.lfs)"
            warn(f"files in Git LFS are not fetched{option}, their pointers are left as they are: {self.pointers}")
        if self.filters:
            named = "; ".join(f"{shown(name)}: {files}" for name, files in self.filters.items())
            warn(f"filters of .gitattributes are not run, files are left as they are in the repository: {named}")
        if self.unchanged.count:
            warn(f"files are left as they are in the repository, although .gitattributes sets: {self.unchanged}")


class _Folder:
    """A folder below the destination, which is made when the first thing is written into it."""

    __slots__ = ("_above", "_descriptor", "_mode", "_name")

    def __init__(self, above: _Folder | None, name: bytes, mode: int, descriptor: int = -1) -> None:
        self._above = above
        self._name = name
        self._mode = mode
        self._descriptor = descriptor

    def open(self) -> int:
        """Its descriptor."""
        if self._descriptor < 0 and self._above is not None:
            above = self._above.open()
            os.mkdir(self._name, _DIRECTORY_MODE, dir_fd=above)
            self._descriptor = os.open(self._name, _DIRECTORY, dir_fd=above)
            os.fchmod(self._descriptor, self._mode)
        return self._descriptor

    def close(self) -> None:
        """Nothing more is written into it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def check_out(
    pack: Objects,
    tree: bytes,
    destination: int,
    warn: Callable[[str], None],
    *,
    budget: Budget,
    index: Index | None = None,
    shared: bool = False,
    selects: Selects | None = None,
    most_gitlinks: int = 0,
    most_pointers: int = 0,
) -> Checkout:
    """Write the files of a tree below an open, empty directory (except for `.git`); `shared`: the group may write.

    `selects`: which of them; None: all. `most_gitlinks`: how many submodules are cloned later; 0: none is.
    `most_pointers`: how many contents of Git LFS are fetched later.

    Raises:
        UnsafeTree: A path is refused; what was written until then lies there.
        GitTooLarge: Folders are nested too deeply.
        CloneTooLarge: There are more bytes or files than the budget has.
        GitProtocolError: The pack lacks something.
        OSError: The disk is full or not writable.
    """
    out = Checkout(
        budget=budget,
        index=index,
        extra_mode=_GROUP_MAY_WRITE if shared else 0,
        most_gitlinks=most_gitlinks,
        most_pointers=most_pointers,
    )
    writer = _Writer(pack, out, selects)
    writer.write_tree(tree, _Folder(None, b"", _DIRECTORY_MODE, destination), b"", Attributes(), 0)
    out.warn(warn)
    return out


class _Writer:
    """Writes folders from the uppermost down."""

    def __init__(self, pack: Objects, out: Checkout, selects: Selects | None) -> None:
        self._pack = pack
        self._out = out
        self._selects = selects
        self._modes: dict[bytes, int] = {}
        self._given: dict[int, bool] = {}  # by mode: whether a new file has it without a chmod

    def write_tree(self, tree: bytes, folder: _Folder, prefix: bytes, attributes: Attributes, depth: int) -> None:
        if depth > _DEPTH:
            raise GitTooLarge(f"the commit's folders are nested more than {_DEPTH} deep")
        pack, out = self._pack, self._out
        if pack.kind(tree) not in {TREE, None}:
            raise UnsafeTree(f"{shown(os.fsdecode(prefix))} is listed as a folder and is not one")
        content = pack.read(tree, TREE)
        if b" " + FILE + b"\0" in content:
            attributes = self._with_file(content, prefix, attributes)
        for octal, name, object_id in tree_entries(content, pack.id_bytes):
            path = prefix + name
            mode = self._modes.get(octal) or self._mode(octal)
            kind = mode & 0o170000
            if kind == _LINK or not PLAIN.match(name):
                check_name(name, path, link=kind == _LINK)
            if len(path) > _PATH_BYTES:
                raise GitTooLarge(f"the commit has a path over {_PATH_BYTES} bytes")
            out.budget.spend_entry()
            try:
                self._write_entry(object_id, mode, name, path, folder, attributes, depth)
            except FileExistsError as error:
                raise UnsafeTree(
                    f"the commit holds two entries that are one path here: {shown(os.fsdecode(path))}"
                ) from error

    def _write_entry(
        self,
        object_id: bytes,
        mode: int,
        name: bytes,
        path: bytes,
        folder: _Folder,
        attributes: Attributes,
        depth: int,
    ) -> None:
        kind = mode & 0o170000
        if kind != _TREE and self._selects is not None and not self._selects(path, kind == _SUBMODULE):
            self._leave_out(object_id, mode, path)
        elif kind == _FILE:
            self._write_file(object_id, mode, name, path, folder.open(), attributes)
        elif kind == _TREE:
            self._write_folder(object_id, name, path, folder, attributes, depth)
        else:
            self._write_other(object_id, kind, name, path, folder.open())

    def _mode(self, octal: bytes) -> int:
        mode = self._modes[octal] = int(octal, 8)
        return mode

    def _with_file(self, tree: bytes, prefix: bytes, attributes: Attributes) -> Attributes:
        """The attributes of a folder that has a file of them."""
        for octal, name, object_id in tree_entries(tree, self._pack.id_bytes):
            if name == FILE and self._pack.kind(object_id) == BLOB and int(octal, 8) & 0o170000 in {_FILE, _LINK}:
                content = self._pack.read(object_id, BLOB)
                if len(content) <= MOST_BYTES:
                    return attributes.within(prefix, content)
                self._out.unchanged.add(prefix + name)
        return attributes

    def _leave_out(self, object_id: bytes, mode: int, path: bytes) -> None:
        kind = mode & 0o170000
        self._out.left_out += 1
        if self._out.index is not None:
            kept = _FILE | (_PROGRAM_MODE if mode & 0o100 else _FILE_MODE) if kind == _FILE else kind
            self._out.index.add_left_out(path, kept, object_id)

    def _write_folder(
        self, tree: bytes, name: bytes, path: bytes, above: _Folder, attributes: Attributes, depth: int
    ) -> None:
        below = _Folder(above, name, _DIRECTORY_MODE | self._out.extra_mode)
        try:
            if self._selects is None:
                below.open()
            self.write_tree(tree, below, path + b"/", attributes, depth + 1)
        finally:
            below.close()

    def _write_other(self, object_id: bytes, kind: int, name: bytes, path: bytes, directory: int) -> None:
        if kind == _SUBMODULE:
            os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)
            self._out.add_submodule(path, object_id)
        elif kind == _LINK:
            self._write_link(object_id, name, path, directory)
        else:
            raise UnsafeTree(f"{shown(os.fsdecode(path))} is listed as a file and is not one")
        if self._out.index is not None:
            self._out.index.add(path, kind, object_id, os.lstat(name, dir_fd=directory))

    def _write_link(self, object_id: bytes, name: bytes, path: bytes, directory: int) -> None:
        self._check_kind(object_id, path)
        target = bytearray()

        def collect(part: bytes) -> None:
            target.extend(part)
            if len(target) >= _PATH_BYTES:
                raise UnsafeTree(f"the link {shown(os.fsdecode(path))} has a target over {_PATH_BYTES} bytes")

        self._out.size_bytes += self._pack.write(object_id, BLOB, collect)
        self._out.files += 1
        if b"\0" in target or not target:
            raise UnsafeTree(f"the link {shown(os.fsdecode(path))} points nowhere")
        os.symlink(bytes(target), name, dir_fd=directory)

    def _write_file(
        self, object_id: bytes, mode: int, name: bytes, path: bytes, directory: int, attributes: Attributes
    ) -> None:
        out = self._out
        conversion = self._conversion(path, attributes) if attributes.files else NOTHING
        content = self._pack.held(object_id)
        if content is None:
            self._check_kind(object_id, path)
        if conversion is not NOTHING and conversion.changes:
            content = self._converted(object_id, path, conversion, content)
        mode = _PROGRAM_MODE if mode & 0o100 else _FILE_MODE
        given = mode | out.extra_mode
        file = os.open(name, _NEW_FILE, given, dir_fd=directory)
        try:
            if content is None:
                size = self._write_parts(object_id, file)
            else:
                size = len(content)
                out.budget.spend(size)
                if size and os.write(file, content) != size:
                    os.lseek(file, 0, os.SEEK_SET)
                    _write_all(file, content)
                if is_pointer(content):
                    out.add_pointer(path, content, given, conversion)
            exact = self._given.get(given)
            if exact is None:
                exact = self._given[given] = stat.S_IMODE(os.fstat(file).st_mode) == given
            if not exact:
                os.fchmod(file, given)
            if out.index is not None:
                entry = out.index.add(path, _FILE | mode, object_id, os.fstat(file))
                if out.contents and out.contents[-1].path == path:
                    out.contents[-1] = replace(out.contents[-1], entry=entry)
        finally:
            os.close(file)
        out.files += 1
        out.size_bytes += size

    def _write_parts(self, object_id: bytes, file: int) -> int:
        def store(part: bytes) -> None:
            self._out.budget.spend(len(part))
            _write_all(file, part)

        return self._pack.write(object_id, BLOB, store)

    def _conversion(self, path: bytes, attributes: Attributes) -> Conversion:
        try:
            conversion = conversion_of(attributes.of(path))
        except TooCostly:
            raise GitTooLarge("the commit's .gitattributes files take too long to match with its files") from None
        name = conversion.filter
        if name and name != _LFS_FILTER and (name in self._out.filters or len(self._out.filters) < _FILTERS):
            self._out.filters.setdefault(name, _Few()).add(path)
        return conversion

    def _converted(self, object_id: bytes, path: bytes, conversion: Conversion, content: bytes | None) -> bytes | None:
        """The content as it is to lie on the disk; None if that is too large to be changed."""
        if content is None:
            if self._pack.size(object_id) > _CHANGED_BYTES:
                self._out.unchanged.add(path)
                return None
            content = self._pack.read(object_id, BLOB)
        try:
            return convert(content, conversion, object_id)
        except CannotEncode as error:
            self._out.unchanged.add(path)
            return error.content

    def _check_kind(self, object_id: bytes, path: bytes) -> None:
        if self._pack.kind(object_id) not in {BLOB, None}:
            raise UnsafeTree(f"{shown(os.fsdecode(path))} is listed as a file and is not one")


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
