"""A `.git` folder whose work tree is what was just written: a shallow repository of one commit, without a credential.

Formats: gitrepository-layout, git-config of git's documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from git_events_runner.edges.git.question import Reference

from .gitindex import Index
from .pack import Pack

_HEX_SHA256 = 64
_HEADS, _TAGS, _ORIGIN = "refs/heads/", "refs/tags/", "refs/remotes/origin/"


def keep(
    folder: Path,
    pack: Pack,
    *,
    url: str,
    reference: Reference,
    commit: str,
    tag_object: str | None,
    index: Index,
    cut: bool,
    spend: Callable[[int], object],
) -> None:
    """Fill `.git`, in which the pack lies already as `objects/pack/unfinished`; `cut`: the parents were left out.

    A branch is checked out with its upstream, so that `git pull`, `git push` and `@{u}` work; an annotated tag stays
    one, for `git describe`. `spend` is called with the size of what is about to be written, and may refuse it.

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
    head = commit
    branch = tag = ""
    if reference.type != "commit":
        branch = reference.full_name.removeprefix(_HEADS) if reference.full_name.startswith(_HEADS) else ""
        tag = reference.full_name.removeprefix(_TAGS) if reference.full_name.startswith(_TAGS) else ""
    if branch:
        head = f"ref: {_HEADS}{branch}"
        for name in (f"{_HEADS}{branch}", f"{_ORIGIN}{branch}"):
            _write_ref(folder / name, commit)
        if branch != "HEAD":
            _write_ref(folder / f"{_ORIGIN}HEAD", f"ref: {_ORIGIN}{branch}")
    elif tag:
        _write_ref(folder / f"{_TAGS}{tag}", tag_object or commit)
    (folder / "config").write_text(_config(url, branch, sha256=new), encoding="utf-8")
    _write_ref(folder / "HEAD", head)


def _write(path: Path, content: bytes | bytearray, spend: Callable[[int], object]) -> None:
    spend(len(content))
    path.write_bytes(content)


def _write_ref(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value + "\n", encoding="utf-8")


def _config(url: str, branch: str, *, sha256: bool) -> str:
    extension = "[extensions]\n\tobjectformat = sha256\n" if sha256 else ""
    upstream = f"[branch {_quoted(branch)}]\n\tremote = origin\n\tmerge = {_quoted(_HEADS + branch)}\n"
    return (
        f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tfilemode = true\n\tbare = false\n"
        f'\tlogallrefupdates = true\n{extension}[remote "origin"]\n\turl = {_quoted(url)}\n'
        f"\tfetch = +refs/heads/*:refs/remotes/origin/*\n{upstream if branch else ''}"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
