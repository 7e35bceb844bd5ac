"""`files`: which paths do file patterns select."""

from __future__ import annotations

import argparse
import sys

from git_events_runner.telemetry.stdout import printed

EXAMPLE = "git ls-files | git-events-runner files --pattern 'docs/**'"
_WRONG = 2


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--pattern", metavar="P", action="append", required=True, help="a pattern; may be repeated")


def run(arguments: argparse.Namespace) -> int:
    """Print those of the paths on standard input that the patterns select: one per line, a submodule ends with `/`."""
    from git_events_runner.errors import InvalidObject
    from git_events_runner.rules.patterns import Patterns

    try:
        compiled = Patterns(arguments.pattern)
    except InvalidObject as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG
    lines = sys.stdin.buffer.read().split(b"\n")
    paths = (line.decode("utf-8", "surrogateescape").removeprefix("./") for line in lines if line)
    selected = [path for path in paths if compiled.selects(path.rstrip("/"), gitlink=path.endswith("/"))]
    return printed("".join(f"{path}\n" for path in selected))
