"""`local`: the controller without a cluster."""

from __future__ import annotations

import argparse

from .numbers import port

EXAMPLE = "git-events-runner local manifests/ --once"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="YAML or JSON file, folder, or - for standard input")
    parser.add_argument(
        "--secret",
        metavar="NAME/KEY=VARIABLE",
        action="append",
        help="a Secret's key that is kept elsewhere: its value is in a variable of the environment, or in @FILE; "
        "a namespace may be put before the name; may be repeated",
    )
    parser.add_argument(
        "--webhooks-port", metavar="PORT", type=port, default=8080, help="default: 8080; 0: any free one"
    )
    parser.add_argument(
        "--utility-port", metavar="PORT", type=port, default=3000, help="default: 3000; 0: any free one"
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="check every trigger with a schedule once, then end; 1 if a check, a run or a message (--send) failed",
    )
    parser.add_argument(
        "--state",
        metavar="FOLDER",
        help="keep what was checked and run in this folder, so that the next start runs only what has changed since",
    )
    parser.add_argument("--ui", action="store_true", help="serve the status page at /ui of the utility port")
    parser.add_argument(
        "--send", action="store_true", help="send the messages of Notifiers; without, each is printed and not sent"
    )
    parser.add_argument("--keep", action="store_true", help="keep the working directories")


def run(arguments: argparse.Namespace) -> int:
    """Run on the manifests until a signal, or with `--once` until all is done; the exit code."""
    from git_events_runner.local import command

    return command.main(arguments)
