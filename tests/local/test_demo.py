"""`make demo`, as a stranger runs it."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from demo.gitserver import Repository
from demo.play import PORT
from demo.transcript import shapes, shown
from tests.patience import timed

ROOT = Path(__file__).parents[2]
PLAY = f"http://127.0.0.1:{PORT}/site.git"


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
    """Runs that succeed: the first commit of two triggers, a push that a schedule finds, one with 25 calls."""
    text, _, _ = told
    assert text.partition("7. ")[0].count(": succeeded\n") == 4
    assert "5 pushes, 30 calls     7 runs" in text
    assert text.count(": nothing to run\n") == 2
    assert max(map(len, text.splitlines())) <= 100


def test_it_shows_a_pull_request_from_its_opening_to_its_end(told):
    """A signed delivery runs its head, and another one, at its end, the Action that removes the preview."""
    text, _, _ = told
    shown = text.partition("7. ")[2].partition("8. ")[0]
    assert "preview of pull request 1: <h1>three</h1>\n" in shown
    assert "the preview of pull request 1 is removed\n" in shown
    assert shown.count(": succeeded\n") == 2


def test_it_shows_a_failed_run_and_where_to_look(told):
    """The worker's last words and its exit code, the address of the status page, and the command that explains it."""
    text, _, _ = told
    failed = text.partition("8. ")[2]
    assert "README.md is empty: this run fails" in failed
    assert ": failed: the command ended with exit code 3\n" in failed
    assert "which shows `Failed, exit code 3`" in failed
    assert re.search(r"^  http://127\.0\.0\.1:\d+/ui/triggers/ScheduleTrigger/default/texts$", failed, re.MULTILINE)
    assert "git-events-runner explain scheduletrigger/texts" in failed


def test_it_ends_with_the_readers_next_step(told):
    """Three commands that push something of the reader's."""
    text, _, _ = told
    commands = re.findall(r"^  (.+)$", text.partition("Your own next step")[2], re.MULTILINE)
    assert commands == ["make play", "cd A-REPOSITORY-OF-YOURS", f"git push --force {PLAY} HEAD:main"]


def test_play_runs_what_a_reader_pushes(tmp_path):
    """`make play`: a repository of more than a megabyte is pushed, its texts are run, Ctrl-C ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = PLAY.replace(str(PORT), str(port))
    mine = Repository(tmp_path / "mine")
    mine.push(mine_md="A text of mine.\n", ballast=random.Random(1).randbytes(1_000_000).hex())
    command = [sys.executable, "-m", "demo.play", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stdout.readline, "")
            assert any("Ctrl-C stops" in line for line in lines)
            push = ["git", "-C", str(mine.work), "push", "--quiet", "--force", url, "HEAD:main"]
            subprocess.run(push, check=True, timeout=120)
            assert any("checking mine.md: 4 words" in line for line in lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130
        finally:
            process.kill()


def test_play_names_a_port_that_is_in_use():
    """It ends with the port and the option that chooses another one."""
    with socket.create_server(("127.0.0.1", 0)) as used:
        command = [sys.executable, "-m", "demo.play", "--port", str(used.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("make play PORT=8419 uses another one\n")


def test_readme_shows_it(told):
    """The transcript in README.md has the lines of a fresh one, but for times, names, ports and figures."""
    text, _, _ = told
    assert shapes(shown()) == shapes(text)
