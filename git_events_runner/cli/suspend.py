"""`suspend`: stop checks and new runs of a trigger."""

from __future__ import annotations

import argparse

from .options import TEXT_FORMS, add_cluster, add_output, add_trigger
from .session import Session
from .session import run as run_session
from .steering import set_suspended

EXAMPLE = "git-events-runner suspend scheduletrigger/nightly"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)
    add_output(parser, *TEXT_FORMS)


def run(arguments: argparse.Namespace) -> int:
    """Set `spec.suspend`; the exit code."""

    async def verb(session: Session) -> int:
        return await set_suspended(
            session,
            arguments,
            suspend=True,
            unchanged="is suspended already",
            changed="is suspended: deliveries are recorded, and handled when it is resumed",
        )

    return run_session(arguments, verb)
