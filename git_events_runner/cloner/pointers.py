"""Pointers of Git LFS, which are in a commit in place of large contents (git-lfs, docs/spec.md, "The Pointer")."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_BYTES = 1024
_START = b"version https://git-lfs.github.com/spec/v1"
_KEY = re.compile(rb"[a-z0-9.-]+\Z")
_OID = re.compile(rb"sha256:([0-9a-f]{64})\Z")
_SIZE = re.compile(rb"[0-9]{1,18}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A file whose content is in Git LFS: path, SHA-256 (hexadecimal) and size; `entry`: its position in the index."""

    path: bytes
    oid: str
    size: int
    mode: int
    entry: int = -1


def is_pointer(content: bytes) -> bool:
    """Whether a file's content begins as a pointer does."""
    return len(content) < MOST_BYTES and content.startswith(_START)


def read(content: bytes) -> tuple[str, int] | None:
    r"""SHA-256 and size of a pointer; None: it is none, or one of an extension.

    >>> read(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 7\n")[1]
    7
    """
    if not is_pointer(content):
        return None
    values: dict[bytes, bytes] = {}
    for line in content.rstrip(b"\n").split(b"\n"):
        key, blank, value = line.rstrip(b"\r").partition(b" ")
        if not blank or not _KEY.match(key) or key in values:
            return None
        values[key] = value
    oid, size = _OID.match(values.get(b"oid", b"")), _SIZE.match(values.get(b"size", b""))
    if oid is None or size is None or values.keys() != {b"version", b"oid", b"size"}:
        return None
    return oid[1].decode(), int(size[0])
