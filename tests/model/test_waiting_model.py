"""No sequence of pushes and crashes runs a change at a wrong time or loses it, and each rule of waiting is needed."""

import pytest

from tests.model.waiting import RULES, World

SAFE = {
    "a window": World(window=(4, 8), horizon=12),
    "a quiet time": World(quiet=2, longest=5, horizon=12),
    "a time between runs": World(cooldown=3, horizon=14),
    "a quiet time and a time between runs": World(quiet=2, longest=4, cooldown=4, horizon=16),
    "all of them": World(window=(4, 12), quiet=2, longest=3, cooldown=3, horizon=14),
    "a retry": World(quiet=2, longest=4, retries=2, horizon=11),
    "a failed run and a window": World(window=(3, 9), horizon=10, failures=1),
    "failed runs and a time between runs": World(cooldown=3, horizon=12, failures=1, pushes=2),
    "failed runs, a window, a quiet time and a time between runs": World(
        window=(2, 11), quiet=2, longest=3, cooldown=2, horizon=12, failures=1, pushes=2
    ),
    "a run that waits for its slot": World(window=(2, 6), horizon=9, full=True),
    "two crashes": World(quiet=2, longest=4, crashes=2, horizon=11),
}
NEEDED = {
    "handles_nothing": (World(without="handles_nothing", quiet=2, longest=4, pushes=1), "never ran"),
    "observes_again": (World(without="observes_again", window=(4, 8)), "while 2 was the head"),
    "first_move_kept": (World(without="first_move_kept", quiet=3, longest=4, horizon=12), "after the first move"),
    "last_start_kept": (World(without="last_start_kept", cooldown=3, horizon=12), "after the run before"),
    "wait_tests": (World(without="wait_tests", quiet=2, longest=3, horizon=12), "after the last move"),
    "moves_reset": (World(without="moves_reset", quiet=3, longest=9, horizon=12), "after the last move"),
    "retry_keeps_wait": (
        World(without="retry_keeps_wait", quiet=3, longest=4, retries=1, horizon=12),
        "after the first move",
    ),
    "retry_waits": (World(without="retry_waits", window=(3, 9), failures=1), "outside the window"),
    "retry_yields": (World(without="retry_yields", window=(3, 9), failures=1), "2 runs for what was pushed before"),
    "start_waits": (World(without="start_waits", window=(2, 6), full=True), "outside the window"),
    "decides_again": (World(without="decides_again", quiet=2, longest=6, horizon=12), "after the last move"),
}


@pytest.mark.parametrize("name", SAFE)
def test_no_sequence_runs_a_change_too_early_too_late_or_not_at_all(name):
    """With every rule: inside the windows, quiet for long enough, apart from each other, and the newest runs."""
    result = SAFE[name].explore()
    assert result.violation is None, (result.violation, result.trace)
    assert result.states > 300  # the world was really walked


def test_retries_that_do_not_wait_break_the_time_between_runs_as_well():
    """Each of the two rules of retries is needed with `cooldown` alone, too: too early, or before a newer commit."""
    early = World(without="retry_waits", cooldown=3, horizon=12, failures=1, pushes=2).explore()
    before = World(without="retry_yields", cooldown=3, horizon=12, failures=1, pushes=2).explore()
    assert "after the run before" in (early.violation or "")
    assert "waited" in (before.violation or "")


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_of_waiting_is_needed(rule):
    """Leaving it out breaks the promise that it stands for."""
    world, broken = NEEDED[rule]
    result = world.explore()
    assert result.violation is not None
    assert broken in result.violation, (result.violation, result.trace)
