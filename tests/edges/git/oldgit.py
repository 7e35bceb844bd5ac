"""Git servers of before 2.28, which end without a word at whatever they did not advertise.

A strict fake stands before today's git: it advertises what git 2.25.1 does and judges requests as that does (serve.c,
upload-pack.c). Where OLD_GIT names a folder with a `git-http-backend` and `git-upload-pack` of such a git, that is
tried too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from git_events_runner.edges.git.pktline import Marker, PacketReader, packet

_ADVERTISED = (b"version 2\n", b"agent=git/2.25.1\n", b"ls-refs\n", b"fetch=shallow filter\n", b"server-option\n")
_ARGUMENTS = {
    b"ls-refs": (b"peel", b"symrefs", b"ref-prefix "),
    b"fetch": (
        *(b"want ", b"have ", b"done", b"thin-pack", b"no-progress", b"include-tag", b"ofs-delta"),
        *(b"shallow ", b"deepen ", b"deepen-relative", b"deepen-since ", b"deepen-not ", b"filter "),
    ),
}
_TYPE = "application/x-git-upload-pack-{}"
DIED = (200, {"Content-Type": _TYPE.format("result")}, b"")


def like_git_2_25(method, body):
    """The advertisement; nothing at a request that git 2.25.1 does not survive; None for one that it answers."""
    if method == "GET":
        lines = packet(b"# service=git-upload-pack\n") + b"0000" + b"".join(map(packet, _ADVERTISED)) + b"0000"
        return 200, {"Content-Type": _TYPE.format("advertisement")}, lines
    items = list(PacketReader("request", limit_bytes=1 << 20).feed(body))
    cut = items.index(Marker.DELIM)
    command = None
    for item in items[:cut]:
        key, _, value = item.rstrip(b"\n").partition(b"=")
        if key == b"command" and value in _ARGUMENTS:
            command = value
        elif key not in {b"agent", b"server-option"}:
            return DIED
    if command is None or items[-1] is not Marker.FLUSH:
        return DIED
    for item in items[cut + 1 : -1]:
        line = item.rstrip(b"\n")
        if not any(line.startswith(known) if known.endswith(b" ") else line == known for known in _ARGUMENTS[command]):
            return DIED
    return None


def dies_in_v2(method, body):
    """A program that advertises v2 and survives no request in it."""
    return like_git_2_25(method, body) if method == "GET" else DIED


def real_old_git():
    """Environment in which `git http-backend` is that of the folder OLD_GIT; skipped without one."""
    folder = os.environ.get("OLD_GIT")
    if not folder or not (Path(folder) / "git-http-backend").exists():
        pytest.skip("OLD_GIT names no folder with git-http-backend and git-upload-pack of a git before 2.28")
    return {"PATH": f"{folder}:{os.environ['PATH']}", "GIT_EXEC_PATH": folder}
