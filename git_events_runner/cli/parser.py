"""The parser of the command line: the table of verbs, and only the module of the verb that is called.

A verb's module has `EXAMPLE`, `add(parser)` for its options, and `run(arguments)`, which returns the exit code. It
imports heavy libraries inside `run`, so that `git-events-runner run` loads nothing of the other verbs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from git_events_runner.telemetry.stdout import printed

from .usage import Parser

PROGRAM = "git-events-runner"
PLUGIN = "kubectl-ger"
VERBS: dict[str, str] = {
    "run": "run the controller",
    "local": "run the controller without a cluster, on manifests",
    "status": "show triggers: state, last result, commit, next check, problem; or one in full",
    "explain": "explain why a trigger ran or did not, the cause first",
    "check": "check manifests: schema, references, policy, and with a cluster the objects that exist",
    "logs": "show the log of a run",
    "trigger": "request a check of a trigger, or a run, now",
    "rerun": "run the source of a former run again, at its current commit",
    "suspend": "suspend a trigger: no checks, no new runs, deliveries are recorded",
    "resume": "resume a suspended trigger",
    "ui": "serve the status page on this machine, with your rights in the cluster",
    "doctor": "check the installation: definitions, leader, replicas, webhooks, git servers, queue",
    "next": "print the next scheduled times of a schedule, in RFC 3339, one per line",
    "files": "read paths from stdin, one per line, and print those that file patterns select",
    "completion": "print the completion script for bash, zsh or fish",
    "crds": "print the custom resource definitions as YAML",
    "config": "print the default runtime config as YAML",
    "probe": "send requests to an HTTP server until it responds as expected; exit code 1 if it does not",
}


class _Version(argparse.Action):
    """`-V`: the installed version is read only when it is printed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from git_events_runner.settings import VERSION

        parser.exit(printed(f"{PROGRAM} {VERSION}\n"))


def program() -> str:
    """How the program was called: by its own name, or as a plugin of kubectl."""
    return "kubectl ger" if PurePath(sys.argv[0]).name == PLUGIN else PROGRAM


def module_of(verb: str) -> Any:
    """The module of a verb."""
    return importlib.import_module(f".{verb}", __package__)


def parser_for(words: Sequence[str]) -> Parser:
    """The parser for a command line: all verbs are known, the options only of those that are in it."""
    parser = Parser(prog=program(), description="Runs Kubernetes Jobs when git repositories change.")
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, dest="verb", metavar="COMMAND", title="commands")
    parser.commands = commands
    for verb, text in VERBS.items():
        added = commands.add_parser(
            verb,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if verb in words:
            module = module_of(verb)
            module.add(added)
            added.set_defaults(command=module.run)
            added.epilog = f"example:\n  {module.EXAMPLE}"
    return parser
