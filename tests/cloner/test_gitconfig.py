"""Files in git's configuration format are read as git reads them."""

import random
import subprocess

import pytest

from git_events_runner.cloner.gitconfig import MOST_BYTES, BrokenConfig, entries
from tests.edges.git.gitserver import GIT_ENVIRONMENT

PIECES = (
    *('[submodule "a"]', '[Submodule "x y"]', "[a.B]", '[a "q\\"u\\\\o"]', "[plain]", '[a "b" ]', "[", '[a"b"]', "[a"),
    *("path", "url = ", "Key-1=", "= ", "../lib.git", '"', '" x "', "\\n", "\\\\", "\\q", "\\\n", "\\"),
    *(
        "#",
        ";",
        " # c\n",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\t",
        "  ",
        "é",
        "x",
        "1a = b\n",
        "key\n",
        "a = b ; c\n",
        "path = a b  \n",
    ),
)


def git_reads(folder, text):
    """What git reads: (name, value) of each line; None where it refuses the file."""
    (folder / "config").write_bytes(text)
    command = ["git", "config", "-z", "-f", str(folder / "config"), "--list"]
    done = subprocess.run(command, capture_output=True, env=GIT_ENVIRONMENT, cwd=folder, check=False)
    if done.returncode:
        return None
    parts = [part.partition(b"\n") for part in done.stdout.split(b"\0") if part]
    return [(name.decode(), value.decode() if mark else None) for name, mark, value in parts]


def ours(text):
    try:
        return [
            (".".join(part for part in (section, subsection, key) if part), value)
            for section, subsection, key, value in entries(text)
        ]
    except BrokenConfig:
        return None


def test_random_files_are_read_as_by_git(tmp_path):
    """Sections, quotes, escapes, comments, continued lines and broken ones, in any order."""
    rng = random.Random(20261130)
    read = 0
    for _ in range(400):
        head = "[s]\n" if rng.random() < 0.7 else ""
        text = (head + "".join(rng.choices(PIECES, k=rng.randrange(1, 9)))).encode()
        expected = git_reads(tmp_path, text)
        assert ours(text) == expected, text
        read += bool(expected)
    assert read > 40


def test_what_is_too_large_is_not_read():
    """No list of submodules has a megabyte."""
    with pytest.raises(BrokenConfig, match="larger than"):
        list(entries(b" " * (MOST_BYTES + 1)))
