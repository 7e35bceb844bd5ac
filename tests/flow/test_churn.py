"""The oracle of branches that change at random finds every kind of wrong run."""

import pytest

from tests.flow.churn import History

FINE = [("x", 1, "b", False), ("x", 2, "b", True), ("x", 5, "d", False), ("y", 1, "z", True), ("y", 2, "w", False)]


def history():
    """`x`: recorded, moved, moved again for a moment, deleted, created; `y`: deleted, created, deleted for a moment."""
    made = History({"x": "a", "y": "z"})
    for at, commit in ((10, "b"), (40, "c"), (45, None), (95, "d")):
        made.change("x", commit, at)
    for at, commit in ((10, None), (90, "w"), (115, None)):
        made.change("y", commit, at)
    return made


def problems(runs):
    return history().problems(runs, until=120, stays_s=20, deletion_s=45)


def test_what_has_to_run_is_right():
    """A head for a moment may run or not; numbers need not be dense."""
    assert problems(FINE) == []
    assert problems([FINE[0], ("x", 2, "c", False), ("x", 3, "c", True), ("x", 9, "d", False), *FINE[3:]]) == []


@pytest.mark.parametrize(
    ("runs", "problem"),
    [
        (FINE[1:], "x: run 2 of the deletion has b, but a was recorded"),
        (FINE[:2] + FINE[3:], "x: d stayed 25 s and did not run"),
        ([FINE[0], *FINE[2:]], "x: the deletion after b stayed 50 s, and onDelete did not run"),
        ([*FINE[:2], ("x", 4, "b", True), *FINE[2:]], "x: onDelete ran 2 times after b, with 1 deletions"),
        ([*FINE, ("x", 6, "d", False)], "x: d ran twice"),
        ([*FINE, ("x", 5, "c", False)], "x: a number twice: [1, 2, 5, 5]"),
        ([*FINE, ("x", 6, "c", False)], "x: run 6 goes back to c"),
        ([*FINE, ("x", 6, "q", False)], "x: run 6 has q, which was no head of it"),
        ([*FINE, ("v", 1, "q", False)], "v: runs, but never existed"),
        ([("x", 0, "a", True), *FINE], "x: onDelete ran 1 times after a, with 0 deletions"),
    ],
)
def test_a_wrong_run_is_found(runs, problem):
    """Lost, doubled, made up, out of order, of a deletion that was none."""
    assert problem in problems(runs)
