"""`resume`: let a suspended trigger check and run again."""

from __future__ import annotations

import argparse

from git_events_runner.telemetry.stdout import printed

from .facts import ref_of
from .options import add_cluster, add_trigger
from .session import Session
from .session import run as run_session

EXAMPLE = "git-events-runner resume scheduletrigger/nightly"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)


def run(arguments: argparse.Namespace) -> int:
    """Set `spec.suspend`; the exit code."""

    async def verb(session: Session) -> int:
        trigger = await session.trigger(arguments.name)
        ref = ref_of(trigger)
        if bool(trigger["spec"].get("suspend")) is False:
            return printed(f"{ref.kind.lower()}/{ref.name} is not suspended\n")
        await session.client.patch(ref, {"spec": {"suspend": False}})
        return printed(f"{ref.kind.lower()}/{ref.name} is resumed: what happened meanwhile is checked once\n")

    return run_session(arguments, verb)
