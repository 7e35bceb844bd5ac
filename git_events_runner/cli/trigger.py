"""`trigger`: request a check or a run now."""

from __future__ import annotations

import argparse
import sys

from git_events_runner.errors import ConfigError

from .facts import ref_of
from .numbers import count
from .options import TEXT_FORMS, add_cluster, add_output, add_trigger
from .session import WRONG_OBJECT, Session
from .session import run as run_session
from .steering import finish, request

EXAMPLE = "git-events-runner trigger scheduletrigger/nightly --run --wait"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)
    add_output(parser, *TEXT_FORMS)
    parser.add_argument("--run", action="store_true", help="run even if nothing has changed, also while suspended")
    parser.add_argument(
        "--source",
        metavar="NAME",
        action="append",
        default=[],
        help="run only this source; may be repeated; with --run",
    )
    parser.add_argument(
        "--wait", action="store_true", help="follow to the end; the exit code is that of the run that failed"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=count, default=3600, help="of --wait, then 1 (default: 3600)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the annotation; with `--wait` the exit code of the run."""
    if arguments.source and not arguments.run:
        raise ConfigError("--source: belongs to a run: add --run (a check is of all sources)")

    async def verb(session: Session) -> int:
        trigger = await session.trigger(arguments.name)
        ref = ref_of(trigger)
        if trigger["spec"].get("suspend") and not arguments.run:
            sys.stderr.write(f"git-events-runner: {ref} is suspended: the check waits until it is resumed; use --run\n")
            if arguments.wait:
                return WRONG_OBJECT
        requested = await request(session, trigger, run=arguments.run, sources=arguments.source)
        what = f"a run of {', '.join(requested.sources[:5])}" if arguments.run else "a check"
        text = f"{ref.kind.lower()}/{ref.name}: {what} is requested (token {requested.token})"
        return await finish(session, requested, text, arguments)

    return run_session(arguments, verb)
