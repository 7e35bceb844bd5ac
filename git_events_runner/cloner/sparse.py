"""Which files of a commit are written, and which contents a clone without contents still lacks for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from git_events_runner.errors import GitTooLarge
from git_events_runner.rules.patterns import Patterns

from .attributes import FILE as ATTRIBUTES
from .deltas import tree_entries
from .objects import Objects
from .pack import TREE

FIELD = "spec.actionJob.clone.sparse"
MODULES = b".gitmodules"
LFS_CONFIG = b".lfsconfig"
_ALWAYS = frozenset({MODULES, LFS_CONFIG})
_TYPE, _FOLDER, _SUBMODULE = 0o170000, 0o040000, 0o160000
_DEPTH = 256

Selects = Callable[[bytes, bool], bool]
"""Whether a path is written; the second argument: whether it is a submodule."""


def selecting(patterns: Sequence[str]) -> Selects | None:
    """What patterns select; None: everything.

    Raises:
        InvalidObject: There are too many patterns, or they are too long; the result raises it when matching takes too
            long.
    """
    if not patterns:
        return None
    compiled = Patterns(patterns, field=FIELD)

    def selects(path: bytes, submodule: bool) -> bool:  # noqa: FBT001 - a callback of two positions
        return compiled.selects(os.fsdecode(path), gitlink=submodule)

    return selects


def missing(objects: Objects, tree: bytes, selects: Selects | None, *, most: int) -> list[bytes]:
    """Ids of the files and links that are written and not there, each once.

    Files of attributes, and those of submodules and Git LFS, are always read.

    Raises:
        GitTooLarge: There are more than `most` entries, or folders are nested too deeply.
        GitProtocolError: A tree is broken or missing.
    """
    found: dict[bytes, None] = {}
    for path, mode, object_id in _files(objects, tree, most):
        if mode & _TYPE == _SUBMODULE or object_id in objects:
            continue
        if path.rpartition(b"/")[2] == ATTRIBUTES or path in _ALWAYS or selects is None or selects(path, False):
            found[object_id] = None
    return list(found)


def _files(objects: Objects, tree: bytes, most: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Path, mode and id of everything that is no folder, in git's order."""
    left = most
    stack = [(b"", tree_entries(objects.read(tree, TREE), objects.id_bytes))]
    while stack:
        prefix, entries = stack[-1]
        for octal, name, object_id in entries:
            left -= 1
            if left < 0 or len(stack) > _DEPTH:
                raise GitTooLarge(f"the commit has more than {most} entries, or folders nested more than {_DEPTH} deep")
            mode = int(octal, 8)
            if mode & _TYPE == _FOLDER:
                below = tree_entries(objects.read(object_id, TREE), objects.id_bytes)
                stack.append((prefix + name + b"/", below))
                break
            yield prefix + name, mode, object_id
        else:
            stack.pop()
