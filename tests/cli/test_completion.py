"""`completion`: what the shells are given."""

import shutil
import subprocess

import pytest

from git_events_runner.cli.parser import VERBS
from tests.cli.conftest import run


@pytest.mark.parametrize(
    ("words", "found"),
    [(["ex"], ["explain"]), (["status", "--all"], ["--all-namespaces"]), (["trigger", "--wa"], ["--wait"])],
)
def test_bash(tmp_path, words, found):
    """In bash verbs and options are completed."""
    script = tmp_path / "completion.bash"
    script.write_text(run("completion", "bash").out)
    line = " ".join(["git-events-runner", *words])
    program = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; COMP_LINE='{line}'; COMP_POINT={len(line)};"
        "function_of=$(complete -p git-events-runner | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        f"$function_of git-events-runner {words[-1]}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell):
    """The script for each shell has all verbs."""
    done = run("completion", shell)
    assert done.code == 0
    assert all(verb in done.out for verb in VERBS)


def test_an_unknown_shell():
    """Another shell ends with 2 and the known ones."""
    done = run("completion", "tcsh")
    assert done.code == 2
    assert "bash" in done.err
