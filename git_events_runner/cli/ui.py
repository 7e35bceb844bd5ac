"""`ui`: the status page on this machine, with the caller's rights."""

from __future__ import annotations

import argparse
import asyncio
import sys

from .numbers import port
from .options import add_cluster
from .session import Session
from .session import run as run_session

EXAMPLE = "git-events-runner ui -A --port 3080"
_DEFAULT_PORT = 3080


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cluster(parser, everywhere=True)
    parser.add_argument(
        "--port",
        metavar="PORT",
        type=port,
        default=_DEFAULT_PORT,
        help=f"port on 127.0.0.1; default: {_DEFAULT_PORT}; 0: any free one",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; the exit code."""

    async def verb(session: Session) -> int:
        from .viewer import viewing

        async with viewing(session, port=arguments.port) as address:
            where = f"the namespace {session.namespace}" if session.namespace else "all namespaces"
            sys.stdout.write(f"status page of {where}: {address}\nCtrl-C stops.\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
        return 0

    try:
        return run_session(arguments, verb)
    except KeyboardInterrupt:  # the usual end
        return 0
