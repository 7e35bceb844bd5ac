"""Random commits with everything that a tree can hold, in pairs of which the second is the first with changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.edges.git.gitserver import git

NAMES = (
    *(b"a", b"a.b", b"a-b", b"a0", b"b", b"dir", b"dir.d", b"z", b"README.md", b"A"),
    *(b"na\xc3\xafve", b"latin\xe9", b'quo"te', b"tab\t", b"new\nline", b"back\\slash", b" blank", b"\x01", b"\x7f"),
)
_MODES = (b"100644", b"100644", b"100755", b"120000", b"160000")


def _entry(rng: random.Random) -> tuple[bytes, bytes]:
    mode = rng.choice(_MODES)
    content = b"%040x" % rng.randrange(1, 30) if mode == b"160000" else b"content %d" % rng.randrange(30)
    return mode, content


def _path(rng: random.Random) -> bytes:
    return b"/".join(rng.choice(NAMES) for _ in range(rng.choice((1, 1, 2, 2, 3, 4))))


def _put(tree: dict[bytes, tuple[bytes, bytes]], path: bytes, entry: tuple[bytes, bytes]) -> None:
    """Put an entry at a path: what is above or below it in the way is removed."""
    for other in [other for other in tree if other.startswith(path + b"/") or path.startswith(other + b"/")]:
        del tree[other]
    tree[path] = entry


def _changed(rng: random.Random, before: dict[bytes, tuple[bytes, bytes]]) -> dict[bytes, tuple[bytes, bytes]]:
    tree = dict(before)
    for _ in range(rng.randrange(8)):
        known = sorted(tree)
        what = rng.random()
        if what < 0.4 or not known:
            _put(tree, _path(rng), _entry(rng))
        elif what < 0.6:
            del tree[rng.choice(known)]
        elif what < 0.8:
            tree[rng.choice(known)] = _entry(rng)
        else:
            _put(tree, rng.choice(known) + b"/" + rng.choice(NAMES), _entry(rng))
    return tree


def pairs(repository: Path, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Commit `count` pairs; gives their ids, the older one first."""
    rng = random.Random(seed)
    stream = []
    for number in range(count):
        tree: dict[bytes, tuple[bytes, bytes]] = {}
        for _ in range(rng.randrange(20)):
            _put(tree, _path(rng), _entry(rng))
        for mark, version in ((2 * number + 1, tree), (2 * number + 2, _changed(rng, tree))):
            stream.append(b"commit refs/heads/x%d\nmark :%d\ncommitter a <a@example.org> 1 +0000\n" % (mark, mark))
            stream.append(b"data 1\nm\n" + (b"from :%d\n" % (mark - 1) if mark % 2 == 0 else b"") + b"deleteall\n")
            for path, (mode, content) in version.items():
                name = b"".join(b"\\%03o" % byte if byte != 0x2F else b"/" for byte in path)
                if mode == b"160000":
                    stream.append(b'M %s %s "%s"\n' % (mode, content, name))
                else:
                    stream.append(b'M %s inline "%s"\ndata %d\n%s\n' % (mode, name, len(content), content))
    marks = repository / "marks"
    git("fast-import", "--quiet", f"--export-marks={marks}", cwd=repository, stdin=b"".join(stream))
    ids = dict(line.split() for line in marks.read_text().splitlines())
    for number in range(count):
        yield ids[f":{2 * number + 1}"], ids[f":{2 * number + 2}"]
