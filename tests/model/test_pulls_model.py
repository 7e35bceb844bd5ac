"""No order of deliveries loses or repeats the run of a pull request, and each rule is needed."""

import pytest

from tests.model.pulls import Pulls

SAFE = {
    "opened, pushed to, closed": Pulls("AB-"),
    "closed and reopened": Pulls("A-A"),
    "deliveries in any order": Pulls("A-B", events="late"),
    "closed at last, deliveries in any order": Pulls("AB-", events="late"),
    "a closing that is not delivered": Pulls("AB-", events="lost"),
    "the same, in any order": Pulls("A-", events="lost late"),
    "a trigger that stops accepting forks": Pulls("AB", events="strict"),
}

NEEDED = {
    "closing_recorded": (Pulls("A-", without="closing_recorded"), "lost: the closing"),
    "late_ignored": (Pulls("A-", without="late_ignored", events="late"), "lost: the closing"),
    "reopening_recorded": (Pulls("A-A", without="reopening_recorded"), "lost: head A"),
    "record_needed": (Pulls("A-", without="record_needed"), "lost: the closing"),
    "fork_in_record": (Pulls("A", without="fork_in_record", events="strict"), "a fork ran"),
    "idle_closes": (Pulls("A-", without="idle_closes", events="lost"), "lost: the closing"),
    "idle_counts": (Pulls("A-", without="idle_counts", events="lost"), "lost: the closing"),
    "idle_tests": (Pulls("AB", without="idle_tests", events="lost"), "lost: head B"),
    "generation_read": (Pulls("A", without="generation_read", events="strict"), "a fork ran"),
}


@pytest.mark.parametrize("name", SAFE)
def test_no_order_of_deliveries_loses_or_repeats_a_run(name):
    """With every rule a closing runs once after the last run, a reopening runs again, and no fork runs unasked."""
    result = SAFE[name].explore()
    assert result.violation is None, f"{result.violation}: {result.trace}"
    assert result.states > 300


@pytest.mark.parametrize("name", NEEDED)
def test_each_rule_is_needed(name):
    """Leaving one rule out breaks the promise that it stands for."""
    model, broken = NEEDED[name]
    result = model.explore()
    assert result.violation is not None
    assert broken in result.violation
