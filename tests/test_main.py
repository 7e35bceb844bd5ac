"""The command line: what is used wrongly, or fails, is told in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from git_events_runner.errors import bug_report, single

HELP = "see git-events-runner --help"


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "git_events_runner", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hlep"], f"git-events-runner: there is no option --hlep; did you mean --help? {HELP}"),
        (["--zzz=1"], f"git-events-runner: there is no option --zzz; {HELP}"),
        (["locale"], f"git-events-runner: there is no command 'locale'; did you mean local? {HELP}"),
        (["crds", "now"], "git-events-runner crds: 'now' is one word too many; see git-events-runner crds --help"),
        (["local", "--onec", "x"], "git-events-runner local: there is no option --onec; did you mean --once? see"),
        (["local"], "git-events-runner local: the following arguments are required: PATH; see"),
        (["next", "1h", "-n", "x"], "git-events-runner next: -n: must be a whole number from 1 to 10000, found 'x'; s"),
        (
            ["run", "--webhooks-prt", "1"],
            "git-events-runner run: there is no option --webhooks-prt; did you mean --web",
        ),
        (
            ["next", "100y", "--after", "9998-01-01T00:00:00Z"],
            "git-events-runner next: '100y' does not fire after 9998-01-01T00:00:00+00:00",
        ),
        (
            ["next", "* * * * *", "--after", "9999-12-31T23:59:30-12:00"],
            "git-events-runner next: '* * * * *' does not fire after 9999-12-31",
        ),
        (
            ["next", "daily"],
            "git-events-runner next: SCHEDULE: 'daily' is not an interval; write it as 1h 15m or 30s, or a cron exp",
        ),
        (["next", ""], "git-events-runner next: SCHEDULE: is empty; write it as 1h 15m or 30s, or a cron expression"),
        (["probe", "http://h/", "--method", "G T"], "git-events-runner probe: --method: must be an HTTP method, as"),
        (["next", "1h", "--after", "0001-01-01T00:00:00-23:00", "-n", "0"], "git-events-runner next: -n: must be a w"),
    ],
)
def test_wrong_use(words: list[str], told: str):
    """Wrong words end with 2 and one line, which names what was likely meant."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(told)


@pytest.mark.parametrize(
    "words", [["--version"], ["crds"], ["config"], ["config", "-t"], ["next", "1h"], ["files", "--pattern", "*"]]
)
def test_an_output_that_cannot_be_written(words: list[str]):
    """A full disk is reported in one line and with 1, by each command that prints; it is no bug."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "git_events_runner", *words],
            check=False,
            input="a\n",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.stderr == "git-events-runner: standard output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_no_words():
    """Without a word the help is printed, with 2."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "run the controller without a cluster, on manifests" in done.stderr


def test_the_last_years():
    """The times of a schedule end with the calendar."""
    done = run("next", "1y", "--after", "9997-01-01T00:00:00Z")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["9998-01-01T06:00:00+00:00", "9999-01-01T12:00:00+00:00"]


def test_no_kubeconfig(tmp_path: Path):
    """Without a cluster to work with, `run` says which file is not there, in one line."""
    done = run("run", HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "absent"))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert f"there is no kubeconfig ({tmp_path}/absent); set KUBECONFIG" in line


@pytest.mark.parametrize("text", ["a: [", "[]", "x", "", "{clusters: 1, current-context: x}", "current-context: x"])
def test_a_wrong_kubeconfig(tmp_path: Path, text: str):
    """A kubeconfig of another form is refused in one line with its name."""
    (tmp_path / "config").write_text(text)
    done = run("run", KUBECONFIG=str(tmp_path / "config"))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"git-events-runner: cannot use {tmp_path}/config: ")


BUG = """\
import sys
from git_events_runner import __main__, app, errors
from git_events_runner.edges.kube.client import Client
from git_events_runner.local import command

def broken(*_, **__):
    raise ExceptionGroup("many", [ExceptionGroup("more", [KeyError("spec")]), ValueError("x")])

Client.connect = command.load = broken
sys.exit(__main__.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["local", "."], ["local", "--once", "."], ["run"]])
def test_a_bug(words: list[str]):
    """A bug in the program is one line, with its cause and where to report it, and ends with 1."""
    done = subprocess.run([sys.executable, "-c", BUG, *words], check=False, capture_output=True, text=True, timeout=60)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "internal error: KeyError: 'spec'" in line
    assert "please report this line (see CONTRIBUTING.md)" in line
    assert done.returncode == 1


def test_where_a_bug_is():
    """A report names the program's own places that led to the bug, the last first, and no other file."""
    with pytest.raises(AttributeError) as raised:
        bug_report(0)
    group = ExceptionGroup("", [ExceptionGroup("", [raised.value])])
    assert single(group) is raised.value
    assert "AttributeError: 'int' object has no attribute '__traceback__' (at errors.py:" in bug_report(group)
