"""`explain`: why a trigger ran or did not."""

from __future__ import annotations

import argparse
from dataclasses import replace

from git_events_runner.errors import ConfigError
from git_events_runner.rules.references import source_of
from git_events_runner.telemetry.stdout import printed

from .explanation import explain
from .facts import gather
from .findings import Explanation
from .models import ExplanationOut, StepOut, dumped
from .options import add_cluster, add_output, add_trigger
from .output import painted, plain, structured
from .session import Session
from .session import run as run_session

EXAMPLE = "git-events-runner explain scheduletrigger/nightly --live"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)
    add_output(parser, "table", "json", "yaml")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="one source of the trigger, or one of its references as app@heads/main; unset: those with problems first",
    )
    parser.add_argument(
        "--live", action="store_true", help="send a request to the git servers, with your rights to the Secrets"
    )
    parser.add_argument(
        "--payload", metavar="FILE", help="what a delivery with this body would do, without sending it; - reads stdin"
    )
    parser.add_argument(
        "--header", metavar="'NAME: VALUE'", action="append", default=[], help="of that delivery; may be repeated"
    )
    parser.add_argument(
        "--controller-namespace", metavar="NAMESPACE", help="where the controller runs; unset: it is searched for"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the cause and the steps; 1 if something has to be changed."""
    if arguments.header and arguments.payload is None:
        raise ConfigError("--header: belongs to a delivery: add --payload FILE")

    async def verb(session: Session) -> int:
        trigger = await session.trigger(arguments.name)
        names = ((trigger.get("spec") or {}).get("sources") or {}).get("names") or []
        if arguments.source is not None and source_of(arguments.source) not in names:
            raise ConfigError(
                f"--source: {arguments.source!r} is no source of the trigger, which has {', '.join(names)}"
            )
        facts = await gather(session, trigger, installation=arguments.controller_namespace)
        if arguments.payload is not None:
            from .delivery import explain_delivery

            return _show(explain_delivery(facts, arguments.payload, arguments.header), arguments)
        if arguments.live:
            from .live import ls_refs

            facts = replace(
                facts, live=await ls_refs(session, facts, [source_of(arguments.source)] if arguments.source else names)
            )
        return _show(explain(facts, arguments.source), arguments)

    return run_session(arguments, verb)


def _show(found: Explanation, arguments: argparse.Namespace) -> int:
    code = int(found.wrong)
    if arguments.output != "table":
        steps = [StepOut(topic=step.topic, text=step.text, remedy=step.remedy) for step in found.steps]
        out = ExplanationOut(cause=str(found.cause), wrong=found.wrong, steps=steps)
        return structured(arguments.output, dumped(out)) or code
    lines = [painted(plain(found.cause), "bad" if found.wrong else "bold"), ""]
    lines += [f"{number:>3}. {plain(step.topic)}: {plain(step)}" for number, step in enumerate(found.steps, 1)]
    return printed("\n".join(lines) + "\n") or code
