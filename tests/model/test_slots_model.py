"""No interleaving lets two Jobs run where one may, and each rule of the slots is needed."""

import pytest

from tests.model.slots import RULES, Slot


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_no_interleaving_runs_more_jobs_than_the_limit(restarts):
    """Whatever is late: watches, requests, the news that another replica leads, a process of the same name."""
    result = Slot(restarts=restarts).explore()
    assert result.trace is None, result.trace
    assert result.states > 100  # the world was really walked


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_of_the_slots_is_needed(rule):
    """Leaving it out lets one Job too many run."""
    assert Slot(without=rule).explore().trace is not None
