"""`make chaos`: trials of all scenarios in a seeded order, for so many minutes; a table of what was found."""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import results, scenarios, trial
from tests.chaos.mutants import MUTANTS
from tests.chaos.servers import servers
from tests.chaos.table import table
from tests.cluster.finisher import Finisher, PodFinisher
from tests.cluster.plane import WITH_JOBS


def main():
    """Run; the exit code is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", default="1", help="decides the order, the pushes and each fault (default: 1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long (default: 60)")
    parser.add_argument("--only", default="", help="scenarios whose names contain this text")
    parser.add_argument("--replicas", type=int, help="only with so many replicas")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="take a fix out, and see what is found")
    parser.add_argument("--job-controller", action="store_true", help="Jobs are run by the real Job controller")
    parser.add_argument("--results", type=Path, help="add each result to this file, and go on after those in it")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    given = parser.parse_args()
    todo = [(s, n) for s, n in scenarios.chosen(given.only) if given.replicas in {None, n}]
    if given.list or not todo:
        print("\n".join(f"{one.name} ({number})" for one, number in todo) or "no such scenario")
        return 0 if todo else 2
    known = results.read(given.results) if given.results else []
    chosen = {(one.name, number) for one, number in todo}
    done = {(each.scenario, each.replicas, each.seed) for each in known}
    if any((name, number) not in chosen or seed.rpartition(".")[0] != given.seed for name, number, seed in done):
        print(f"{given.results} holds results of other trials: of another seed, or of another choice of scenarios")
        return 2
    order = (each for each in _order(todo, given.seed) if (each[0].name, *each[1:]) not in done)
    more = {"controllers": WITH_JOBS} if given.job_controller else {}
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, servers(Path(folder), **more) as running:
        for result in _trials(order, given, running, Path(folder)):
            known.append(result)
            if given.results:
                results.append(given.results, result)
            if given.mutant and result.found:
                break
    print(table(known, seed=given.seed))
    return int(any(result.found for result in known))


def _order(todo, seed):
    """All trials, again and again, each time in another order and with another seed."""
    for turn in itertools.count(1):
        order = list(todo)
        random.Random(f"{seed}:{turn - 1}").shuffle(order)
        for one, number in order:
            yield one, number, f"{seed}.{turn}"


def _trials(order, given, running, folder):
    ended_at = time.monotonic() + 60 * given.minutes
    more = {"mutant": given.mutant, "finisher": PodFinisher if given.job_controller else Finisher}
    while time.monotonic() < ended_at:
        one, number, seed = next(order)
        place = folder / f"trial-{seed}-{one.name.replace(' ', '-')}-{number}"
        try:
            result = trial.run(one, *running, place, replicas=number, seed=seed, **more)
        except Exception as error:  # noqa: BLE001  a trial that breaks is a finding, and the others go on
            result = trial.Result(scenario=one.name, replicas=number, seed=seed, found=[f"broken: {error!r}"])
        verdict = "; ".join(result.found) or f"ran {result.ran_s:.1f} s after the fault"
        print(f"{one.name} ({number} replicas, seed {seed}, {result.seconds:.0f} s): {verdict}", flush=True)
        if result.found:
            kept = Path("build") / "chaos" / place.name
            shutil.copytree(place, kept, dirs_exist_ok=True)
            print(f"  logs: {kept}", flush=True)
        yield result


if __name__ == "__main__":
    sys.exit(main())
