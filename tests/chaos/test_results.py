"""A run that was interrupted goes on, and its table has all of it."""

import itertools

from tests.chaos import __main__ as command
from tests.chaos import results
from tests.chaos.scenarios import chosen
from tests.chaos.table import table
from tests.chaos.trial import Result

ONE = Result(scenario="slow answers", replicas=2, seed="7.1", pushes=9, accepted=7, jobs=6, ran_s=1.25, seconds=30.0)
BROKEN = Result(scenario="slow answers", replicas=2, seed="7.2", jobs=1, ran_s=3.0, seconds=90.0, found=["lost"])


def test_results_are_read_as_they_were_added(tmp_path):
    """In order; of a file that is not there, none."""
    path = tmp_path / "results"
    assert results.read(path) == []
    results.append(path, ONE)
    results.append(path, BROKEN)
    assert results.read(path) == [ONE, BROKEN]


def test_a_scenario_has_one_line_for_each_number_of_replicas():
    """With sums, the median, and what was found."""
    head, _, _, _, *rows = table([ONE, BROKEN], seed="7").splitlines()
    assert head == "Seed 7, 2 minutes: 2 trials, 9 pushes, 7 Jobs, 1 trials with a broken promise."
    assert rows == ["| slow answers | 2 | 2 | 9 | 7 | 7 | 2.1, 3.0 | lost |"]


def test_a_trial_that_did_not_reach_its_write_is_counted_apart():
    """Its fault never happened."""
    missed = Result(scenario="slow answers", replicas=2, seed="7.2", reached=False)
    assert table([ONE, missed], seed="7").splitlines()[-1].split(" | ")[2] == "2, 1 reached the write"


def test_trials_are_the_same_in_each_run_of_a_seed():
    """And each turn has all of them, in another order."""
    todo = chosen("watches")
    count = len(todo)
    first, again = ([*itertools.islice(command._order(todo, "7"), 2 * count)] for _ in range(2))
    assert first == again
    assert {each[:2] for each in first[:count]} == {each[:2] for each in first[count:]} == set(todo)
    assert {each[2] for each in first[:count]} == {"7.1"}


def test_results_of_another_run_are_refused(tmp_path, monkeypatch, capsys):
    """Before anything is started: their trials would not be those that this run leaves out."""
    path = tmp_path / "results"
    results.append(path, ONE)
    monkeypatch.setattr("sys.argv", ["chaos", "--seed", "8", "--results", str(path)])
    assert command.main() == 2
    assert "holds results of other trials" in capsys.readouterr().out
