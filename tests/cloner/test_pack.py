"""The pack reader against git itself, and against packs that mean no good: bounded, or refused."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess
import sys
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from git_events_runner.cloner.names import PLAIN, UnsafeTree, check_name
from git_events_runner.cloner.pack import BLOB, COMMIT, NAMES, Pack, PackLimits
from git_events_runner.errors import GitError, GitProtocolError, GitTooLarge
from tests.edges.git.gitserver import GIT_ENVIRONMENT, commit, git, new_repository

MIB = 2**20


def packed(repository, *options):
    """Everything in a repository as one pack, as git makes it."""
    command = ["git", "pack-objects", "--all", "--stdout", "-q", "--delta-base-offset", *options]
    done = subprocess.run(command, cwd=repository, capture_output=True, env=GIT_ENVIRONMENT, check=True)
    return done.stdout


def read(tmp_path, content, *, form="sha1", limits=None):
    path = tmp_path / "pack"
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return Pack(descriptor, form, limits or PackLimits()), descriptor
    except BaseException:
        os.close(descriptor)
        raise


def entry(kind, size, data, *, base=b""):
    head, rest = [(kind << 4) | (size & 15)], size >> 4
    while rest:
        head[-1] |= 0x80
        head.append(rest & 0x7F)
        rest >>= 7
    return bytes(head) + base + zlib.compress(data)


def pack_of(*entries):
    body = b"PACK" + (2).to_bytes(4) + len(entries).to_bytes(4) + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest()


@pytest.fixture(params=["sha1", "sha256"])
def history(request, tmp_path):
    """A repository whose packs hold deltas in long chains, large and empty files."""
    repository = new_repository(tmp_path / "app.git", f"--object-format={request.param}")
    chance = random.Random(7)
    lines = [b"%d\n" % chance.getrandbits(200) for _ in range(2000)]
    parent = None
    for number in range(30):
        lines[chance.randrange(len(lines))] = b"changed %d\n" % number
        files = {"grows": b"".join(lines), "d/same": b"same", "empty": b"", "binary": chance.randbytes(300_000)}
        parent = commit(repository, files | {f"d/{number}": b"x" * number}, parent=parent)
    return request.param, repository


@pytest.mark.parametrize("options", [(), ("--no-delta-base-offset",), ("--depth=4",), ("--window=0",)])
def test_every_object_is_as_git_says(tmp_path, history, options):
    """Ids, kinds and contents of all objects are git's, whatever way the pack was made; so is the pack's index."""
    form, repository = history
    options = tuple(option for option in options if option != "--no-delta-base-offset")
    content = packed(repository, *options)
    pack, descriptor = read(tmp_path, content, form=form)
    listed = git("cat-file", "--batch-all-objects", "--batch-check", cwd=repository).splitlines()
    assert len(pack.objects) == len(listed)
    for line in listed:
        object_id, kind, size = line.split()
        found = pack.kind(bytes.fromhex(object_id))
        assert NAMES[found] == kind.encode()
        parts = []
        assert pack.write(bytes.fromhex(object_id), found, parts.append) == int(size)
        whole = b"".join(parts)
        state = hashlib.new(form, b"%s %d\0" % (kind.encode(), len(whole)) + whole)
        assert state.hexdigest() == object_id
    (tmp_path / "x.pack").write_bytes(content)
    flag = f"--object-format={form}"
    git("index-pack", flag, "--index-version=2", "x.pack", cwd=tmp_path)
    assert pack.index() == (tmp_path / "x.idx").read_bytes()
    os.close(descriptor)


def test_deltas_by_id_in_any_order(tmp_path):
    """A delta may name its base by id, before the base is there."""
    base, target = b"base " * 100, b"base " * 100 + b"more"
    delta = bytes([0xF4, 0x03, 0xF8, 0x03, 0xB0, 0xF4, 0x01, 0x04]) + b"more"
    pack, descriptor = read(
        tmp_path, pack_of(entry(7, len(delta), delta, base=blob_id(base)), entry(BLOB, len(base), base))
    )
    assert pack.read(blob_id(target), BLOB) == target
    os.close(descriptor)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PACK",
        b"<html>" * 10,
        pack_of()[:-1] + b"x",
        pack_of(entry(BLOB, 5, b"four")),
        pack_of(entry(BLOB, 3, b"four")),
        pack_of(entry(5, 1, b"x")),
        pack_of(entry(7, 1, b"x", base=b"\1" * 20)),
        pack_of(entry(6, 1, b"x", base=b"\x7f")),
        pack_of(entry(6, 1, b"x", base=b"\0")),
        pack_of(entry(BLOB, 1, b"x")[:-3]),
        pack_of(bytes([0xB0 | 15] + [0xFF] * 40)),
        pack_of(entry(BLOB, 1, b"x"), entry(7, 3, b"\x01\x05\xff", base=blob_id(b"x"))),
        pack_of(entry(BLOB, 1, b"x"), entry(7, 4, b"\x01\x01\x00\x00", base=blob_id(b"x"))),
        pack_of(entry(BLOB, 1, b"x"))[:-30],
    ],
)
def test_broken_packs(tmp_path, content):
    """Whatever is not a whole, sound pack is a protocol error."""
    with pytest.raises(GitProtocolError):
        read(tmp_path, content)


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_byte_is_noticed(tmp_path_factory, place, value):
    """Changing any byte of a pack is an error of ours, never another one and never unnoticed."""
    sound = pack_of(entry(BLOB, 4, b"four"), entry(BLOB, 300, b"300" * 100))
    damaged = bytearray(sound)
    damaged[place % len(damaged)] = value
    if bytes(damaged) == sound:
        return
    with pytest.raises(GitError):
        read(tmp_path_factory.mktemp("p"), bytes(damaged))


def test_limits(tmp_path):
    """Too many objects, too much in all and too large an object made of deltas are refused."""
    two = pack_of(entry(BLOB, 1, b"x"), entry(BLOB, 1, b"y"))
    with pytest.raises(GitTooLarge, match="objects"):
        read(tmp_path, two, limits=PackLimits(objects=1))
    with pytest.raises(GitTooLarge, match="inflates"):
        read(tmp_path, two, limits=PackLimits(inflated_bytes=1))
    huge = bytes([0x01, 0x80, 0x80, 0x80, 0x80, 0x10]) + b"\x90\x01"  # makes 4 GiB of one byte
    bomb = pack_of(entry(BLOB, 1, b"x"), entry(7, len(huge), huge, base=blob_id(b"x")))
    with pytest.raises(GitTooLarge):
        read(tmp_path, bomb)
    with pytest.raises(GitTooLarge, match="inflates"):
        read(tmp_path, bomb, limits=PackLimits(inflated_bytes=2**30))


def test_a_bomb_in_small_memory(tmp_path):
    """A file of 256 MiB out of 256 KiB is read through and written in parts: less than 16 MiB of memory."""
    code = """
import hashlib, os, resource, sys, zlib
from git_events_runner.cloner.pack import BLOB, Pack, PackLimits
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
descriptor = os.open(sys.argv[1], os.O_RDONLY)
pack = Pack(descriptor, "sha1", PackLimits())
[object_id] = pack.objects
print(pack.write(object_id, BLOB, lambda part: None))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    size = 2**28
    squeeze = zlib.compressobj(9)
    zeros = bytes(MIB)
    data = b"".join(squeeze.compress(zeros) for _ in range(size // MIB)) + squeeze.flush()
    head = entry(BLOB, size, b"")
    body = b"PACK" + (2).to_bytes(4) + (1).to_bytes(4) + head[: head.index(b"\x78\x9c")] + data
    (tmp_path / "bomb").write_bytes(body + hashlib.sha1(body, usedforsecurity=False).digest())
    assert len(body) < MIB // 2
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written, grown_kib = map(int, done.stdout.split())
    assert written == size
    assert grown_kib < 16 * 1024


DISGUISES = [b".git", b".GIT", b"git~1", b"GIT~1", b".git ", b".git.", b".git...", b".git::$DATA"]
DISGUISES += [b".git:x", b".g\xe2\x80\x8cit", b"\xe2\x80\x8d.git", b".git\xef\xbb\xbf", b"..", b".", b"a/b", b"a\0b"]
DISGUISES += [b"", b".git\\config"]


@given(st.one_of(st.binary(max_size=12), st.text(alphabet=".gitGIT~1 :-_\\aZ\u200c", max_size=8).map(str.encode)))
@example(b".gitignore")
@example(b".gitmodules")
@example(b".git-credentials")
@example(b"a..b")
def test_the_quick_judgement_is_dulwichs(name):
    """What passes without dulwich would pass with it."""
    from dulwich.index import validate_path_element_default, validate_path_element_hfs, validate_path_element_ntfs

    if PLAIN.match(name):
        assert validate_path_element_default(name)
        assert validate_path_element_ntfs(name)
        assert validate_path_element_hfs(name)
        assert name not in {b".", b".."}
        assert b"/" not in name


@pytest.mark.parametrize("name", DISGUISES)
def test_disguises_of_git_are_refused(name):
    """Every name that some file system takes for git's folder, or for another place, is refused; others are not."""
    for harmless in (b".gitignore", b".gi\xc4\xb1t", b"a..b", b"x\\..\\y", b"na\xefve", b"$(id)"):
        check_name(harmless, harmless)
    with pytest.raises(UnsafeTree):
        check_name(name, name)


def test_memory_of_the_reader_is_not_the_packs(tmp_path, history):
    """Reading a pack with deltas holds less than the cache beside what one object takes."""
    form, repository = history
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pack, descriptor = read(tmp_path, packed(repository), form=form)
    head = git("rev-parse", "main", cwd=repository)
    assert pack.read(bytes.fromhex(head), COMMIT).startswith(b"tree ")
    os.close(descriptor)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def copied(base_size):
    """A delta that is its base and one byte more."""
    delta = bytearray()
    for size in (base_size, base_size + 1):
        rest = size
        while rest >= 0x80:
            delta.append(rest & 0x7F | 0x80)
            rest >>= 7
        delta.append(rest)
    at = 0
    while at < base_size:
        length = min(base_size - at, 0xFFFF)
        delta += b"\xb7" + at.to_bytes(3, "little") + length.to_bytes(2, "little")
        at += length
    return bytes(delta) + b"\x01x"


@pytest.mark.parametrize("branches", [False, True])
def test_a_long_chain_of_large_files_is_limited_by_one_of_them(tmp_path, branches):
    """Forty files of 1 MiB, each made of the one before, and files made of each of those, are read within 1.5 MiB."""
    content = random.Random(3).randbytes(MIB)
    entries, ids = [entry(BLOB, len(content), content)], [blob_id(content)]
    for _ in range(40):
        delta = copied(len(content))
        entries.append(entry(7, len(delta), delta, base=blob_id(content)))
        content += b"x"
        ids.append(blob_id(content))
        if branches:
            side = copied(len(content))[:-1] + b"y"
            entries.append(entry(7, len(side), side, base=blob_id(content)))
            ids.append(blob_id(content + b"y"))
    limits = PackLimits(held_bytes=3 * MIB // 2)
    pack, descriptor = read(tmp_path, pack_of(*reversed(entries)), limits=limits)
    assert set(pack.objects) == set(ids)
    assert pack.read(ids[-1], BLOB)[:MIB] == content[:MIB]
    os.close(descriptor)
    with pytest.raises(GitTooLarge):
        read(tmp_path, pack_of(*entries), limits=PackLimits(held_bytes=MIB // 2))


def test_files_in_another_order_than_the_pack_are_read_in_small_parts(tmp_path):
    """Files of the pack are read in any order without reading much of it again each time."""
    contents = [random.Random(n).randbytes(900) for n in range(2000)]
    pack, descriptor = read(tmp_path, pack_of(*(entry(BLOB, len(each), each) for each in contents)))
    taken = []
    pread = pack._file.pread
    pack._file.pread = lambda *arguments: taken.append(len(found := pread(*arguments))) or found
    chance = random.Random(5)
    for each in chance.sample(contents, len(contents)):
        assert pack.held(blob_id(each)) == each
    assert sum(taken) < 20 * sum(map(len, contents))
    os.close(descriptor)
