"""`completion`: completion of verbs and options for a shell."""

from __future__ import annotations

import argparse

import shtab

from git_events_runner.telemetry.stdout import printed

from .parser import VERBS, parser_for

EXAMPLE = "git-events-runner completion bash > ~/.local/share/bash-completion/completions/git-events-runner"
_SHELLS = ("bash", "zsh", "fish")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the argument."""
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))


def run(arguments: argparse.Namespace) -> int:
    """Print the script; the exit code."""
    return printed(shtab.complete(parser_for(list(VERBS)), shell=arguments.shell) + "\n")
