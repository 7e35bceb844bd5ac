"""`make demo`, as a stranger runs it."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.transcript import shapes, shown
from tests.patience import timed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[str, float, list[Path]]:
    """What the demo printed, its seconds (on an idle machine), and what it left in the folder of temporary files."""
    folder = tmp_path_factory.mktemp("tmp")
    with timed() as watch:
        done = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    left = [*folder.iterdir(), *_processes(f"TMPDIR={folder}".encode())]
    return done.stdout, watch.fair_s, left


def _processes(variable: bytes) -> list[Path]:
    """Processes that have a variable in their environment (none where the system does not tell)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable in entry.read_bytes().split(b"\0"):
                found.append(entry.parent)
    return found


def test_it_ends_by_itself(told):
    """It ends with 0 in under a minute, and leaves no file and no process behind."""
    _, seconds, left = told
    assert seconds < 60
    assert left == []


def test_it_shows_the_main_job(told):
    """Four runs: the first commit for each trigger, a push found by the schedule, and one with 25 calls at once."""
    text, _, _ = told
    assert text.count(": succeeded\n") == 4
    assert "3 pushes, 28 calls     4 runs" in text
    assert text.count(": nothing to run\n") == 2
    assert max(map(len, text.splitlines())) <= 100


def test_readme_shows_it(told):
    """The transcript in README.md has the lines of a fresh one, but for times, names, ports and figures."""
    text, _, _ = told
    assert shapes(shown()) == shapes(text)
