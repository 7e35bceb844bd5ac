"""`suspend`: stop checks and new runs of a trigger."""

from __future__ import annotations

import argparse

from git_events_runner.telemetry.stdout import printed

from .facts import ref_of
from .options import add_cluster, add_trigger
from .session import Session
from .session import run as run_session

EXAMPLE = "git-events-runner suspend scheduletrigger/nightly"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)


def run(arguments: argparse.Namespace) -> int:
    """Set `spec.suspend`; the exit code."""

    async def verb(session: Session) -> int:
        trigger = await session.trigger(arguments.name)
        ref = ref_of(trigger)
        if bool(trigger["spec"].get("suspend")) is True:
            return printed(f"{ref.kind.lower()}/{ref.name} is suspended already\n")
        await session.client.patch(ref, {"spec": {"suspend": True}})
        return printed(
            f"{ref.kind.lower()}/{ref.name} is suspended: deliveries are recorded, and handled when it is resumed\n"
        )

    return run_session(arguments, verb)
