"""A `.git` folder whose work tree is what was just written: a shallow repository of one commit, without a credential.

Formats: gitrepository-layout, gitformat-index (version 2), git-config of git's documentation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from git_events_runner.edges.git.question import Reference

from .checkout import Written
from .pack import Pack

_NAME_MOST = 0xFFF
_HEX_SHA256 = 64


def keep(
    folder: Path,
    pack: Pack,
    *,
    url: str,
    reference: Reference,
    commit: str,
    written: Sequence[Written],
    cut: bool,
    spend: Callable[[int], object],
) -> None:
    """Fill `.git`, in which the pack lies already as `objects/pack/unfinished`; `cut`: the parents were left out.

    `spend` is called with the size of what is about to be written, and may refuse it.

    Raises:
        OSError: The disk is full or not writable.
    """
    new = len(commit) == _HEX_SHA256
    packs = folder / "objects" / "pack"
    stem = f"pack-{pack.checksum.hex()}"
    (packs / "unfinished").rename(packs / f"{stem}.pack")
    (packs / f"{stem}.pack").chmod(0o444)
    _write(packs / f"{stem}.idx", pack.index(), spend)
    for name in ("objects/info", "refs/heads", "refs/tags", "info"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder / "index", _index(written, sha256=new), spend)
    if cut:
        (folder / "shallow").write_text(commit + "\n")
    (folder / "config").write_text(_config(url, sha256=new))
    head = f"{commit}\n"
    named = not reference.name.startswith("refs/")
    if reference.type == "branch" and named:
        for name in (f"refs/heads/{reference.name}", f"refs/remotes/origin/{reference.name}"):
            _write_ref(folder / name, commit)
        head = f"ref: refs/heads/{reference.name}\n"
    elif reference.type == "tag" and named:
        _write_ref(folder / f"refs/tags/{reference.name}", commit)
    (folder / "HEAD").write_bytes(os.fsencode(head))


def _write(path: Path, content: bytes, spend: Callable[[int], object]) -> None:
    spend(len(content))
    path.write_bytes(content)


def _write_ref(path: Path, commit: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(commit + "\n")


def _config(url: str, *, sha256: bool) -> str:
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    extension = "[extensions]\n\tobjectformat = sha256\n" if sha256 else ""
    return (
        f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tfilemode = true\n\tbare = false\n"
        f'\tlogallrefupdates = true\n{extension}[remote "origin"]\n\turl = "{quoted}"\n'
        "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    )


def _index(written: Sequence[Written], *, sha256: bool) -> bytes:
    out = bytearray(b"DIRC" + (2).to_bytes(4) + len(written).to_bytes(4))
    for each in sorted(written, key=lambda one: one.path):
        found = each.found
        start = len(out)
        for moment_ns in (found.st_ctime_ns, found.st_mtime_ns):
            seconds, rest = divmod(moment_ns, 10**9)
            out += (seconds & 0xFFFFFFFF).to_bytes(4) + rest.to_bytes(4)
        for value in (found.st_dev, found.st_ino, each.mode, found.st_uid, found.st_gid, found.st_size):
            out += (value & 0xFFFFFFFF).to_bytes(4)
        out += each.object_id + min(len(each.path), _NAME_MOST).to_bytes(2) + each.path
        out += b"\0" * (8 - (len(out) - start) % 8)
    state = hashlib.sha256(out) if sha256 else hashlib.sha1(out, usedforsecurity=False)
    return bytes(out) + state.digest()
