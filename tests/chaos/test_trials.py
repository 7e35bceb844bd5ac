"""A selection of the trials of `make chaos`, and proof that the oracle sees what a missing fix costs."""

import os
import subprocess
import sys

import pytest

from tests.chaos import trial
from tests.chaos.mutants import MUTANTS
from tests.chaos.pod import ROOT
from tests.chaos.scenarios import SCENARIOS

SEED = os.environ.get("CHAOS_SEED", "1")
_SELECTED = [
    ("API server killed", 1),
    ("5xx at random", 1),
    ("answers of writes lost", 2),
    ("watches late", 2),
    ("leader cut off", 2),
    ("kill -9 before the record of a run", 1),
    ("kill -9 after the creation of a Job", 2),
    ("clock of the leader minutes off", 1),
]

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(("name", "replicas"), _SELECTED)
def test_no_promise_is_broken_by_a_fault(name, replicas, control_plane, api, git_server, tmp_path):
    """No commit twice, none after a newer one, the newest runs, the limit holds, and the status says so."""
    found = trial.run(SCENARIOS[name], control_plane, api, git_server, tmp_path, replicas=replicas, seed=SEED)
    assert found.found == []
    assert found.pushes > 10
    assert found.jobs > 4


def test_the_oracle_finds_names_that_do_not_come_from_the_run(control_plane, api, git_server, tmp_path):
    """With a fix taken out, the same trial finds it."""
    mutant = MUTANTS["random-names"]
    one = SCENARIOS[mutant.found_by[0]]
    found = trial.run(one, control_plane, api, git_server, tmp_path, replicas=1, seed="1", mutant="random-names")
    assert found.found


def test_every_mutant_names_scenarios_that_there_are():
    """So that `make chaos` can be run for each."""
    assert {name for each in MUTANTS.values() for name in each.found_by} <= set(SCENARIOS)


def test_every_mutant_takes_out_what_is_there():
    """In a process of its own: none would be missed of a fix that has another name now."""
    code = "from tests.chaos.mutants import MUTANTS\nfor one in MUTANTS.values(): one.take_out()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=300)
