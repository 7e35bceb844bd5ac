"""`check`: manifests against schema, cross references, policy and, with a cluster, the objects that exist there."""

from __future__ import annotations

import argparse
import asyncio
import os

from git_events_runner.local.standins import stand_ins
from git_events_runner.telemetry.stdout import printed

from .inspection import Inspection, inspect, inspect_with
from .models import CheckOut, ManifestProblemOut, dumped
from .options import add_cluster
from .output import painted, plain, structured
from .reports import junit, sarif
from .session import WRONG_USE, Session
from .session import run as run_session

EXAMPLE = "git-events-runner check manifests/ --offline -o sarif"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("paths", metavar="FILE", nargs="+", help="YAML or JSON file, folder, or - for standard input")
    add_cluster(parser)
    parser.add_argument(
        "--offline", action="store_true", help="without a cluster: Secrets and ConfigMaps may exist elsewhere"
    )
    parser.add_argument(
        "--secret",
        metavar="NAME/KEY=VARIABLE",
        action="append",
        default=[],
        help="a Secret's key that is kept elsewhere, as for `local`; may be repeated",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FORM",
        choices=("text", "json", "sarif", "junit"),
        default="text",
        help="text, json, sarif or junit; default: text",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what is wrong, one line for each problem; 2 if anything is."""
    secrets = stand_ins(arguments.secret, os.environ)
    if arguments.offline:
        return _show(asyncio.run(inspect(arguments.paths, secrets, arguments.namespace or "default")), arguments.output)

    async def verb(session: Session) -> int:
        return _show(await inspect_with(session, arguments.paths, secrets), arguments.output)

    return run_session(arguments, verb)


def _show(found: Inspection, form: str) -> int:
    code = WRONG_USE if found.problems else 0
    if form == "sarif":
        return structured("json", sarif(found)) or code
    if form == "junit":
        return printed(junit(found)) or code
    if form == "json":
        return structured("json", dumped(_out(found))) or code
    lines = [painted(plain(str(problem)), "bad") for problem in found.problems]
    lines += [painted(f"skipped: {plain(one)}", "dim") for one in found.skipped]
    lines += [painted(f"note: {plain(one)}", "dim") for one in found.notes]
    wrong, objects = len(found.problems), found.objects
    lines.append(
        f"{wrong} problem{'s' * (wrong != 1)}" if wrong else f"{objects} object{'s' * (objects != 1)}: no problems"
    )
    return printed("\n".join(lines) + "\n") or code


def _out(found: Inspection) -> CheckOut:
    problems = [
        ManifestProblemOut(file=one.file, line=one.line, field=one.field, text=one.text) for one in found.problems
    ]
    return CheckOut(objects=found.objects, problems=problems, skipped=[*found.skipped], notes=[*found.notes])
