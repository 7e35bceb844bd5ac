"""A `.git` folder whose work tree is what was just written: a shallow repository of one commit, without a credential.

Formats: gitrepository-layout, git-config of git's documentation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from git_events_runner.edges.git.question import Reference

from .gitindex import Index
from .pack import Pack

_HEX_SHA256 = 64


def keep(
    folder: Path,
    pack: Pack,
    *,
    url: str,
    reference: Reference,
    commit: str,
    index: Index,
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
    _write(folder / "index", index.content(), spend)
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
