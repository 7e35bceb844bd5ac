"""Whether a success is the first one after a failure."""

import pytest

from git_events_runner.rules.notifications.recovery import follows_failure


def history(*records):
    return {"history": [{"number": n, "source": source, "phase": phase} for n, source, phase in records]}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ((), False),
        (((6, "app", "Failed"),), True),
        (((6, "app", "Succeeded"),), False),
        (((6, "app", "Succeeded"), (5, "app", "Failed")), False),
        (((6, "app", "Superseded"), (5, "app", "Failed")), True),
        (((6, "app", "Running"), (5, "app", "Succeeded")), False),
        (((6, "other", "Failed"), (5, "app", "Succeeded")), False),
        (((8, "app", "Failed"), (6, "app", "Succeeded")), False),
        (((3, "app", "Failed"),), True),
    ],
)
def test_the_run_before_that_ended_decides(records, expected):
    """Runs of other sources, later ones, cancelled ones and those that run still do not count."""
    assert follows_failure(7, "app", [], history((7, "app", "Succeeded"), *records)) is expected


@pytest.mark.parametrize("status", [None, {}, {"history": "x"}, {"history": [{"number": "6", "phase": "Failed"}]}])
def test_a_status_that_is_not_readable_has_no_failure(status):
    """Nothing, or nonsense."""
    assert follows_failure(7, "app", [], status) is False
