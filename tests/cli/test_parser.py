"""The parser: every verb's help, and what a verb imports."""

import shlex
import subprocess
import sys

import pytest

from git_events_runner.cli.parser import VERBS, module_of, parser_for


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    """The help of each verb ends with an example, which the parser accepts."""
    with pytest.raises(SystemExit) as end:
        parser_for([verb, "--help"]).read([verb, "--help"])
    assert end.value.code == 0
    example = module_of(verb).EXAMPLE
    assert capsys.readouterr().out.endswith(f"example:\n  {example}\n")
    words = shlex.split(example)
    words = words[words.index("git-events-runner") + 1 :]
    stop = next((at for at, word in enumerate(words) if word in {"|", ">"}), len(words))
    assert parser_for(words).read(words[:stop]).verb == verb


def test_run_imports_no_other_verb():
    """The controller's process holds nothing of the other verbs."""
    program = (
        "import sys; from git_events_runner.cli.parser import parser_for; parser_for(['run']).read(['run']);"
        "print(*sorted(n for n in sys.modules if n.startswith('git_events_runner.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [f"git_events_runner.cli.{name}" for name in ("parser", "run", "usage")]


def test_the_plugin_of_kubectl(monkeypatch, capsys):
    """Called as `kubectl ger`, the help says so."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-ger", "-h"])
    with pytest.raises(SystemExit):
        parser_for(["-h"]).read(["-h"])
    assert capsys.readouterr().out.startswith("usage: kubectl ger ")
