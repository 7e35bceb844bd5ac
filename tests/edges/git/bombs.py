"""Small packs that mean to become large."""

from __future__ import annotations

import hashlib
import zlib


def entry(kind, data, *, size=None):
    size = len(data) if size is None else size
    head, rest = bytearray(), size >> 4
    byte = kind << 4 | size & 15
    while rest:
        head.append(byte | 0x80)
        byte, rest = rest & 0x7F, rest >> 7
    head.append(byte)
    return bytes(head) + zlib.compress(data)


def made_pack(*entries):
    body = b"PACK" + (2).to_bytes(4) + len(entries).to_bytes(4) + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def object_id(kind, data):
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).digest()


def commit_of(tree):
    return b"tree " + object_id(b"tree", tree).hex().encode() + b"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nm"


def multiplying_tree(*, padding=b""):
    """Folders nested so that they name a thousand million files; the pack, and its commit's id."""
    tree = b"100644 f\0" + object_id(b"blob", b"")
    entries = [entry(2, tree)]
    for _ in range(9):
        tree = b"".join(b"40000 %c%s\0" % (97 + n, padding) + object_id(b"tree", tree) for n in range(10))
        entries.append(entry(2, tree))
    made = commit_of(tree)
    return made_pack(*entries, entry(1, made)), object_id(b"commit", made).hex()


def multiplying_delta():
    """A chain of deltas, each copying its base twenty times over."""
    base = b"100644 f\0" + bytes(20)
    body, size = [entry(2, base * 2000)], len(base) * 2000
    for _ in range(6):
        grown = size * 20
        copy = bytes((0x80 | 0x70, size & 255, size >> 8 & 255, size >> 16 & 255))
        delta = _number(size) + _number(grown) + copy * 20
        distance = len(body[-1])
        assert distance < 0x4000
        back = bytes((0x80 | (distance >> 7) - 1, distance & 0x7F)) if distance > 0x7F else bytes((distance,))
        whole = entry(6, delta)
        head = whole[: whole.index(b"\x78")]
        body.append(head + back + zlib.compress(delta))
        size = min(grown, 0xFFFFFF)
    return made_pack(*body)


def long_names():
    """As that, each path near four thousand characters long and wide."""
    return multiplying_tree(padding="\U0001d54f".encode() * 400)


def one_folder(files=2_700_000):
    """A commit with one tree of many entries with the shortest names."""
    tree = (b"1 a\0" + bytes(20)) * files
    made = commit_of(tree)
    return made_pack(entry(2, tree), entry(1, made)), object_id(b"commit", made).hex()


def many_objects(count=5_000_000):
    """Empty files, nine bytes each."""
    return made_pack(*[entry(3, b"")] * count)


def _number(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _delta_by_id(base, delta):
    plain = entry(7, delta)
    head = plain.index(b"\x78\x9c")
    return plain[:head] + object_id(b"tree", base) + plain[head:]


def tiny_steps(steps=20 * 2**20):
    """40 KiB of a delta that copies one byte at a time, twenty million times."""
    base = b"x" * 100
    return made_pack(entry(2, base), _delta_by_id(base, _number(len(base)) + _number(steps) + b"\x90\x01" * steps))


def backward_deltas(count=100_000):
    """Deltas by id, each one's base behind it: a chain of trees from the pack's end; and the id of the last tree."""
    content = b"100644 f\0" + bytes(20)
    chain = [entry(2, content)]
    for number in range(count):
        grown = b"100644 f\0" + number.to_bytes(20)
        delta = bytes((len(content), len(grown), len(grown))) + grown
        chain.append(_delta_by_id(content, delta))
        content = grown
    return made_pack(*reversed(chain)), object_id(b"tree", content).hex()
