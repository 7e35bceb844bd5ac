"""A `.git` folder whose work tree is what was just written: a repository with the packs of the clone, no credential.

Formats: gitrepository-layout, git-config of git's documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from git_events_runner.edges.git.request import Reference

from .gitindex import Index
from .pack import Pack

UNFINISHED = "unfinished"
_HEX_SHA256 = 64
_SPARSE = "\tsparsecheckout = true\n\tsparsecheckoutcone = false\n"
_PROMISOR = "\tpromisor = true\n\tpartialclonefilter = blob:none\n"
_HEADS, _TAGS, _ORIGIN = "refs/heads/", "refs/tags/", "refs/remotes/origin/"


def keep(
    folder: Path,
    packs: Sequence[Pack],
    *,
    url: str,
    reference: Reference,
    commit: str,
    tag_object: str | None,
    index: Index,
    cut: Iterable[bytes],
    partial: bool,
    sparse: Sequence[str],
    spend: Callable[[int], object],
) -> None:
    """Fill `.git`, in which the packs are already, as `objects/pack/unfinished-0` and so on.

    A branch is checked out with its upstream, so that `git pull`, `git push` and `@{u}` work; an annotated tag stays
    one, for `git describe`. `cut`: the commits whose parents were left out. `partial`: contents of files were.
    `sparse`: patterns of the files that are written. `spend` is called with the size of what is about to be written,
    and may refuse it.

    Raises:
        OSError: The disk is full or not writable.
    """
    new = len(commit) == _HEX_SHA256
    _finish_packs(folder, packs, spend, partial=partial)
    for name in ("objects/info", "refs/heads", "refs/tags", "info"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder / "index", index.content(), spend)
    if shallow := sorted(each.hex() for each in cut):
        (folder / "shallow").write_text("\n".join(shallow) + "\n")
    if sparse:
        (folder / "info" / "sparse-checkout").write_text("\n".join(sparse) + "\n", encoding="utf-8")
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
    (folder / "config").write_text(
        _config(url, branch, sha256=new, partial=partial, sparse=bool(sparse)), encoding="utf-8"
    )
    _write_ref(folder / "HEAD", head)


def _finish_packs(folder: Path, packs: Sequence[Pack], spend: Callable[[int], object], *, partial: bool) -> None:
    for number, pack in enumerate(packs):
        stem = folder / "objects" / "pack" / f"pack-{pack.checksum.hex()}"
        (stem.parent / f"{UNFINISHED}-{number}").rename(stem.with_suffix(".pack"))
        stem.with_suffix(".pack").chmod(0o444)
        _write(stem.with_suffix(".idx"), pack.index(), spend)
        if partial:
            stem.with_suffix(".promisor").touch()


def _write(path: Path, content: bytes | bytearray, spend: Callable[[int], object]) -> None:
    spend(len(content))
    path.write_bytes(content)


def _write_ref(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value + "\n", encoding="utf-8")


def _config(url: str, branch: str, *, sha256: bool, partial: bool, sparse: bool) -> str:
    extensions = ("\tobjectformat = sha256\n" if sha256 else "") + ("\tpartialclone = origin\n" if partial else "")
    upstream = f"[branch {_quoted(branch)}]\n\tremote = origin\n\tmerge = {_quoted(_HEADS + branch)}\n"
    return (
        f"[core]\n\trepositoryformatversion = {int(sha256 or partial)}\n\tfilemode = true\n\tbare = false\n"
        f"\tlogallrefupdates = true\n{_SPARSE if sparse else ''}"
        f"{'[extensions]' + chr(10) + extensions if extensions else ''}"
        f'[remote "origin"]\n\turl = {_quoted(url)}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
        f"{_PROMISOR if partial else ''}{upstream if branch else ''}"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
