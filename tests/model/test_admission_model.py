"""No interleaving resumes a Job that ran, and each rule of admission is needed."""

import pytest

from tests.model.admission import RULES, Admission

SAFE = {
    "a Job that waits": Admission(),
    "one that was let run at its creation": Admission(word="admitted", suspended=False),
    "one that another controller suspended at its creation": Admission(word="admitted"),
    "one that is another queue's": Admission(word="elsewhere"),
    "one of 1.0.0": Admission(word=None),
    "one that does not start": Admission(word="admitted", suspended=False, requeues=1, acts=3),
    "one that waits and then does not start": Admission(requeues=1, acts=2),
    "one that another controller lets run, and that does not start": Admission(word="admitted", requeues=1, acts=3),
}
NEEDED = {
    "word_tested": Admission(without="word_tested"),
    "start_tested": Admission(without="start_tested"),
    "word_changed": Admission(without="word_changed"),
    "word_read": Admission(without="word_read"),
    "start_noted": Admission(without="start_noted"),
    "toggles_counted": Admission(word="admitted", requeues=1, acts=3, without="toggles_counted"),
    "version_tested": Admission(word="admitted", suspended=False, requeues=1, acts=3, without="version_tested"),
    "mark_tested": Admission(word="admitted", suspended=False, requeues=1, acts=3, without="mark_tested"),
}


@pytest.mark.parametrize("name", SAFE)
def test_no_interleaving_resumes_a_job_that_ran(name):
    """Whatever people and other controllers do, and however late a request arrives."""
    result = SAFE[name].explore()
    assert result.violation is None, result.trace
    assert result.states > 100  # the world was really walked


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_of_admission_is_needed(rule):
    """Leaving it out resumes or suspends a Job that another party suspended or let run."""
    result = NEEDED[rule].explore()
    assert result.violation is not None
