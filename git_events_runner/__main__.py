"""The program: run the verb that the command line has, and turn every error into one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from git_events_runner.cli.parser import PROGRAM, parser_for
from git_events_runner.errors import ConfigError, bug_report, single
from git_events_runner.telemetry.stdout import discard

_FAILED = 1
_WRONG_USE = 2
_INTERRUPTED = 130
_TRACEBACK = "GIT_EVENTS_RUNNER_TRACEBACK"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code: 0 done, 1 failed, 2 used or configured wrongly."""
    words = sys.argv[1:] if argv is None else argv
    parser = parser_for(words)
    if not words:
        parser.print_help(sys.stderr)
        return _WRONG_USE
    arguments = parser.read(words)
    try:
        return arguments.command(arguments)  # type: ignore[no-any-return]  # the run of a verb
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{PROGRAM}: {problem}\n")
        return _WRONG_USE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `git-events-runner probe … | true`
        discard()
        return 0
    except Exception as error:  # noqa: BLE001  the border of the program: a bug is one line, its traceback is optional
        sys.stderr.write(f"{PROGRAM}: {bug_report(error)}\n")
        if os.environ.get(_TRACEBACK):
            traceback.print_exception(single(error))
        return _FAILED


if __name__ == "__main__":
    sys.exit(main())
