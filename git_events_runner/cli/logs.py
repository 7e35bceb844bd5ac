"""`logs`: the log of a run's pod."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from git_events_runner.errors import ApiInvalid, ConfigError
from git_events_runner.resources.job import TRIGGER_KIND_LABEL, TRIGGER_LABEL, JobView
from git_events_runner.resources.kinds import KINDS, POD
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.labels import label

from .facts import ref_of
from .numbers import count
from .options import add_cluster, add_trigger
from .session import WRONG_OBJECT, Session
from .session import run as run_session

EXAMPLE = "git-events-runner logs scheduletrigger/nightly --run 12"
_POLL_S = 1.0


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_trigger(parser)
    add_cluster(parser)
    parser.add_argument("--run", metavar="N", type=count, help="number of the run; unset: the newest")
    parser.add_argument("--source", metavar="NAME", help="of this source of the trigger")
    parser.add_argument("-f", "--follow", action="store_true", help="wait for the pod, and follow its log to the end")
    parser.add_argument("--cloner", action="store_true", help="of the init container, which clones the repository")


def run(arguments: argparse.Namespace) -> int:
    """Print the log; 1 where there is none."""

    async def verb(session: Session) -> int:
        trigger = await session.trigger(arguments.name)
        ref = ref_of(trigger)
        labels = f"{TRIGGER_KIND_LABEL}={ref.kind},{TRIGGER_LABEL}={label(ref.name)}"
        jobs = await session.all(KINDS["Job"], namespace=ref.namespace, labels=labels)
        job = chosen(jobs, arguments.run, arguments.source)
        if job is None:
            last = [one for one in jobs if JobView.of(one).run]
            why = "its Jobs are deleted, or it never ran" if not last else "no such run has a Job"
            return _none(f"{ref} has no Job to show the log of: {why}; see git-events-runner status {arguments.name}")
        pod = await _pod(session, job, follow=arguments.follow)
        if pod is None:
            return _none(f"Job {job['metadata']['name']} {_why(JobView.of(job))}")
        return await _print(session, pod, cloner=arguments.cloner, follow=arguments.follow)

    return run_session(arguments, verb)


def chosen(jobs: Sequence[Mapping[str, Any]], number: int | None, source: str | None) -> Mapping[str, Any] | None:
    """The Job of a run number and source; the newest where none is given.

    Raises:
        ConfigError: Several sources have a run of that number.
    """
    runs = [(one, view.run) for one in jobs if (view := JobView.of(one)).run is not None]
    found = [
        (one, key)
        for one, key in runs
        if key is not None and number in {None, key.number} and source in {None, key.source}
    ]
    sources = sorted({key.source for _, key in found})
    if number is not None and len(sources) > 1:
        raise ConfigError(f"--run: run {number} exists for {', '.join(sources)}; add --source")
    return max((one for one, _ in found), key=lambda one: str(one["metadata"].get("creationTimestamp")), default=None)


async def _pod(session: Session, job: Mapping[str, Any], *, follow: bool) -> Mapping[str, Any] | None:
    """The newest pod of a Job; with `follow` it is waited for while the Job has not ended."""
    metadata = job["metadata"]
    while True:
        pods = await session.all(POD, namespace=metadata["namespace"], labels=f"job-name={metadata['name']}")
        if pods or not follow:
            return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)
        current = await session.find(Ref("Job", metadata["namespace"], metadata["name"]))
        if current is None or JobView.of(current).finished:
            return None
        await asyncio.sleep(_POLL_S)


def _why(view: JobView) -> str:
    """Why a Job has no pod."""
    if view.waits:
        what = "waits for a slot" if view.limit is None else "waits for its concurrency group or a slot"
        return f"{what}, so it has no pod yet; follow it with -f, or see git-events-runner explain"
    if view.suspended:
        return "is suspended, so it has no pod"
    if view.finished:
        return "has ended, and its pod is deleted"
    return "has no pod yet: see kubectl describe job, a quota may refuse it"


async def _print(session: Session, pod: Mapping[str, Any], *, cloner: bool, follow: bool) -> int:
    spec, metadata = pod["spec"], pod["metadata"]
    containers = spec.get("initContainers" if cloner else "containers") or ()
    if not containers:
        return _none(f"pod {metadata['name']} has no init container")
    name = str(containers[0]["name"])
    while True:
        try:
            async with session.client.log(metadata["namespace"], metadata["name"], name, follow=follow) as pieces:
                async for piece in pieces:
                    sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()
                return 0
        except ApiInvalid as error:  # the container has not started
            if not follow:
                return _none(f"{error}; follow it with -f")
            await asyncio.sleep(_POLL_S)


def _none(text: str) -> int:
    sys.stderr.write(f"git-events-runner: {text}\n")
    return WRONG_OBJECT
