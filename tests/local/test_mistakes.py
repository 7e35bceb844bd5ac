"""Five likely mistakes of a new user, on the manifests of manifests/examples: what is printed explains each."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from demo.gitserver import Repository

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "site.yaml"
COMMAND = (sys.executable, "-m", "git_events_runner", "local", "--once")

ABSENT = "there is no Secret at all"
ADD = "add it, or correct kind, namespace or name, or pass it with --secret forge/token=VARIABLE"


def tried(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What a user sees who tries the manifests."""
    ports = options or ("--webhooks-port", "0", "--utility-port", "0")
    done = subprocess.run([*COMMAND, *ports, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Warning" not in done.stderr
    return done


def written(folder: Path, *, url: str = "http://127.0.0.1:9/site.git", change: tuple[str, str] = ("", "")) -> Path:
    """The example with another address, and one change."""
    text = re.sub(r"repoUri: \S+", f"repoUri: {url}", EXAMPLE.read_text())
    assert change[0] in text
    path = folder / "site.yaml"
    path.write_text(text.replace(change[0], change[1], 1) if change[0] else text)
    return path


@pytest.mark.parametrize(
    ("change", "line", "told"),
    [
        (("kind: GitRepo", "kind: Gitrepo"), 8, "kind: Gitrepo is no kind that is known here; did you mean GitRepo?"),
        (
            ("  repoUri:", "  authConfig: {type: token, secretRef: {name: forge}}\n  repoUri:"),
            12,
            f"spec.authConfig.secretRef.name: no Secret default/forge in these manifests ({ABSENT}); {ADD}",
        ),
        (
            ("  repoUri:", "repoUri:"),
            12,
            "repoUri: GitRepo has no such field; did you mean spec.repoUri? check its indentation",
        ),
        (("  repoUri:", "repoUri:"), 11, "spec: is empty; are the lines below it indented?"),
        (
            ("    kind: GitRepo", "   kind: GitRepo"),
            23,
            "is no YAML: mapping values are not allowed in this context; check the indentation, colons and quotes",
        ),
        (("    kind: GitRepo", "\tkind: GitRepo"), 22, "is no YAML: the indentation has a tab; use spaces"),
    ],
    ids=["wrong kind", "missing secret", "no indentation", "nothing indented", "wrong indentation", "a tab"],
)
def test_in_the_manifests(tmp_path: Path, change: tuple[str, str], line: int, told: str):
    """A mistake in a manifest is told with file, line, field and what to do; the exit code is 2."""
    path = written(tmp_path, change=change)
    done = tried(path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"git-events-runner: {path}:{line}: {told}" in done.stderr.splitlines()


def test_unreachable_repository(tmp_path: Path):
    """A repository that does not answer is told with its address and what to look at; the exit code is 1."""
    done = tried(written(tmp_path))
    assert done.returncode == 1
    assert re.search(r"default/texts site: Unreachable: http://127\.0\.0\.1:9/site\.git: no connection", done.stdout)
    assert "is repoUri right, and can this machine reach it?" in done.stdout


def test_no_such_branch(repository: Repository, tmp_path: Path):
    """A branch that is not there is named, with the field to correct."""
    done = tried(written(tmp_path, url=repository.url, change=("branch: main", "branch: master")))
    assert done.returncode == 1
    assert "has no branch master (looked for refs/heads/master); check the trigger's watchOn.reference" in done.stdout


def test_command_not_found(repository: Repository, tmp_path: Path):
    """A command that this machine does not have is named, with what to do; the run fails, the exit code is 1."""
    done = tried(written(tmp_path, url=repository.url, change=("command: [sh, -ec]", "command: [shh, -ec]")))
    assert done.returncode == 1
    told = "command not found: shh; install it on this machine, or correct spec.actionJob.command of the action"
    assert re.search(rf"^\[texts-\w+\] {re.escape(told)}$", done.stdout, re.MULTILINE)
    assert re.search(r"failed: job texts-\w+$", done.stdout, re.MULTILINE)


def test_port_in_use(tmp_path: Path):
    """A port that somebody else listens on is named; the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = str(written(tmp_path))
        words = [*COMMAND[:-1], "--webhooks-port", str(port), "--utility-port", "0", path]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"cannot listen on port {port}: Address already in use; choose another one" in done.stderr
