"""No interleaving lets two Jobs run where one may, and each rule of the slots is needed."""

import pytest

from tests.model.slots import RULES, Slot


@pytest.mark.parametrize(("restarts", "slots"), [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2)])
def test_no_interleaving_runs_more_jobs_than_the_limit(restarts, slots):
    """Whatever is late: watches, requests side by side, the news of another leader, a process of the same name."""
    result = Slot(restarts=restarts, slots=slots).explore()
    assert result.trace is None, result.trace
    assert result.states > 100  # the world was really walked


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_of_the_slots_is_needed(rule, slots):
    """Leaving it out lets one Job too many run."""
    assert Slot(without=rule, slots=slots).explore().trace is not None
