"""Names that must not be written: one step down and no more, and not git's own folder on any file system.

As git's `verify_path` with `core.protectNTFS` and `core.protectHFS` (CVE-2014-9390, CVE-2019-1353): `.git` in every
disguise of NTFS and HFS+, and a link that would be taken for `.gitmodules`. All other names are written, as git
writes them: those of dots or blanks only, too.
"""

from __future__ import annotations

import os
import re

from git_events_runner.edges.git.request import shown
from git_events_runner.errors import GitEventsRunnerError

# Names in which nothing can be hidden.
PLAIN = re.compile(
    rb"(?!\.[gG][iI][tT](?![A-Za-z0-9_-]))\.?[A-Za-z0-9_@+=,-](?:[A-Za-z0-9_@+=,.-]*[A-Za-z0-9_@+=,-])?\Z"
)
_REFUSED = frozenset({b"", b".", b".."})
# NTFS: case counts for nothing, dots and blanks at the end neither, `:` begins a stream, a backslash is a slash.
_NTFS_GIT = re.compile(rb"(?:\A|\\)(?:\.git|git~1)[. ]*(?:[\\:]|\Z)", re.IGNORECASE)
_SHORT = rb"|".join(b"gi7eba"[:kept] + rb"~[1-9]\d{%d}" % (6 - kept) for kept in range(7))
_NTFS_MODULES = re.compile(
    rb"(?:\A|\\)(?:\.gitmodules|gitmod~[1-4]|%s)[. ]*(?:[\\:]|\Z)" % _SHORT.replace(b"%", b"%%"), re.IGNORECASE
)
# Characters that HFS+ leaves out when it compares names.
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


class UnsafeTree(GitEventsRunnerError):
    """The commit holds a path that must not be written."""


def is_safe(name: bytes, *, link: bool = False) -> bool:
    """Whether a name of a tree may be written; `link`: that of a symbolic link.

    >>> [is_safe(name) for name in (b"...", b" ", b".gitignore", b".git.", b"GIT~1", b"..")]
    [True, True, True, False, False, False]
    """
    if name in _REFUSED or b"/" in name or b"\0" in name or _NTFS_GIT.search(name):
        return False
    plain = _HFS_IGNORED.sub("", _readable(name)).lower()
    return plain != ".git" and not (link and (plain == ".gitmodules" or _NTFS_MODULES.search(name)))


def _readable(name: bytes) -> str:
    """The name until it is no UTF-8 any more, where git ends it."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        return name[: error.start].decode("utf-8")


def check_name(name: bytes, path: bytes, *, link: bool = False) -> None:
    """Let only safe names pass.

    Raises:
        UnsafeTree: The name is refused.
    """
    plain = PLAIN.match(name) and not (link and name.lower() == b".gitmodules")
    if not plain and not is_safe(name, link=link):
        raise UnsafeTree(f"the commit holds the path {shown(os.fsdecode(path))}, which git does not allow")
