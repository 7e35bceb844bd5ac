"""`rerun`: run the source of a former run again, at its current commit."""

from __future__ import annotations

import argparse

from git_events_runner.errors import ConfigError

from .facts import ref_of
from .models import Run
from .numbers import count
from .options import TEXT_FORMS, add_cluster, add_output, add_trigger
from .overview import history_of
from .session import Session
from .session import run as run_session
from .steering import finish, request

EXAMPLE = "git-events-runner rerun webhooktrigger/hook --run 12"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)
    add_output(parser, *TEXT_FORMS)
    parser.add_argument("--run", metavar="N", type=count, help="number of the run; unset: the last one")
    parser.add_argument("--source", metavar="NAME", help="source of the run, where several have that number")
    parser.add_argument("--wait", action="store_true", help="follow to the end; the exit code is that of the run")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=count, default=3600, help="of --wait, then 1 (default: 3600)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Request a run of the source; with `--wait` the exit code of the run."""

    async def verb(session: Session) -> int:
        trigger = await session.trigger(arguments.name)
        ref, former = ref_of(trigger), chosen(history_of(trigger), arguments.run, arguments.source)
        requested = await request(session, trigger, run=True, sources=[str(former.source)])
        commit = f" (run {former.number} was of {former.commit[:12]})" if former.commit else ""
        text = f"{ref.kind.lower()}/{ref.name}: a run of {former.source} at its current commit is requested{commit}"
        return await finish(session, requested, text, arguments)

    return run_session(arguments, verb)


def chosen(history: list[Run], number: int | None, source: str | None) -> Run:
    """The run of a number and source among those that are recorded.

    Raises:
        ConfigError: There is none, or several sources have that number.
    """
    found = [one for one in history if one.source and number in {None, one.number} and source in {None, one.source}]
    if not found:
        known = ", ".join(f"{one.number} of {one.source}" for one in history)
        if not known:
            raise ConfigError("no run of the trigger is recorded; start one with trigger --run")
        raise ConfigError(f"--run: no such run is recorded; recorded are {known}")
    sources = {one.source for one in found}
    if number is not None and len(sources) > 1:
        raise ConfigError(f"--run: run {number} exists for {', '.join(sorted(map(str, sources)))}; add --source")
    return found[0]
