"""One trial: an installation at work, a fault, and what the oracle finds afterwards."""

import random
import threading
import time
from dataclasses import dataclass, field

from tests.chaos import oracle
from tests.chaos.arena import Arena
from tests.chaos.workload import Workload
from tests.cluster.finisher import Finisher
from tests.patience import timed

_SETTLED_S = 40.0  # from the last Job to a status that says so
_PROBED_S = 15.0  # a push afterwards, in an installation that is well
_PATIENCE = 3  # so much longer than its bound everything is waited for, for a slow machine
_QUIET_S = 2


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a trial; times are in seconds of a machine that does nothing else."""

    scenario: str
    replicas: int
    seed: str
    pushes: int = 0
    accepted: int = 0
    jobs: int = 0
    exits: int = 0
    reached: bool = True
    ran_s: float = 0.0
    seconds: float = 0.0
    found: list = field(default_factory=list)


def run(scenario, plane, api, git_server, folder, *, replicas, seed, mutant=None, finisher=Finisher):
    """Run a scenario once. The seed decides about pushes, deliveries and the fault, not about the order of threads."""
    dice = random.Random(f"{seed}:{scenario.name}:{replicas}")
    result = Result(scenario=scenario.name, replicas=replicas, seed=seed)
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with Arena(
        plane, api, git_server, folder, replicas=replicas, mutant=mutant, finisher=finisher, scenario=scenario
    ) as arena:
        _act(arena, scenario, dice, result)
        evidence = arena.evidence
        result.reached = arena.reached
        result.exits = sum(pod.exits for pod in arena.pods)
        result.pushes = sum(len(source.commits) for source in evidence.sources.values())
        result.accepted = sum(len(evidence.accepted(name)) for name in evidence.sources)
        result.jobs = sum(len(evidence.runs(source)) for source in evidence.sources.values())
        result.found += arena.broken()
        if result.exits and not scenario.may_exit:
            result.found.append(f"{result.exits} exits that no fault explains")
        if result.found:
            (folder / "jobs.log").write_text("".join(f"{change.line}\n" for change in evidence.changes))
    result.seconds = time.monotonic() - began
    return result


def _act(arena, scenario, dice, result):
    """Before, during and after the fault."""
    _everywhere(arena, dice, result, "before the fault", _PROBED_S + 4 * scenario.run_s)
    if result.found:
        return
    work = arena.workload = Workload(arena, dice)
    span_s = dice.uniform(*scenario.span_s)
    pushing = threading.Thread(target=work.pushes, args=(dice.randint(6, 14), span_s), daemon=True)
    pushing.start()
    try:
        scenario.inject(arena, random.Random(dice.random()), span_s)
    finally:
        pushing.join(60)
        ended_at = time.monotonic()
        with timed() as watch:
            arena.recover()
            work.finish()
            missing = _wait(arena, oracle.unrun, scenario.bound_s)
    if arena.broken():
        return
    result.ran_s = max(arena.evidence.last_run_at() - ended_at, 0.0) / watch.slowness
    if missing:
        result.found += oracle.silent(arena.evidence) or missing
    elif result.ran_s > scenario.bound_s:
        result.found.append(
            f"the last promised run came {result.ran_s:.1f} s after the fault, not {scenario.bound_s} s"
        )
    result.found += _wait(arena, oracle.unsettled, _SETTLED_S)
    result.found += [f"written again and again: {path}" for path in arena.busy_writes(_QUIET_S)]
    if not result.found:
        _everywhere(arena, dice, result, "after the fault", _PROBED_S + 4 * scenario.run_s)


def _everywhere(arena, dice, result, when, bound_s):
    """A push to every repository, and its run."""
    work = Workload(arena, dice)
    with timed() as watch:
        for delivering in [work.push(name) for name in sorted(arena.evidence.sources)]:
            if delivering is not None:
                delivering.result(_PATIENCE * _SETTLED_S)
        missing = _wait(arena, oracle.unrun, 3 * bound_s) or _wait(arena, oracle.unsettled, _SETTLED_S)
    work.finish()
    result.found += [f"{when}: {text}" for text in missing]
    if not missing and watch.fair_s > bound_s:
        result.found.append(f"{when}: {watch.fair_s:.1f} s until a push had run everywhere")


def _wait(arena, question, bound_s):
    """What is still open: nothing, or when the time is over, or when a promise is broken for good."""
    deadline = time.monotonic() + bound_s * _PATIENCE
    while True:
        arena.read_statuses()
        found = question(arena.evidence)
        if not found or time.monotonic() > deadline or arena.broken():
            return found
        time.sleep(0.1)
