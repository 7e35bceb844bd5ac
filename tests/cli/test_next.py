"""`next`: scheduled times, and when the runs of changes start."""

import pytest

from git_events_runner.__main__ import main

AFTER = ["--after", "2026-05-06T06:00:00Z"]
OFFICE = ["--allow", "9h TZ=Europe/Berlin 0 9 * * 1-5"]


def printed(capsys, *arguments):
    code = main(["next", *arguments])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_windows_show_when_the_run_of_a_change_starts(capsys):
    """Each scheduled time, and the opening that a change which is found then waits for."""
    code, lines, _ = printed(capsys, "0 */30 6-9 * * *", *OFFICE, "--deny", "1h 0 8 * * *", *AFTER, "-n", "4")
    assert code == 0
    assert lines == [
        "2026-05-06T06:30:00+00:00  runs at 2026-05-06T07:00:00+00:00",
        "2026-05-06T07:00:00+00:00  runs immediately",
        "2026-05-06T07:30:00+00:00  runs immediately",
        "2026-05-06T08:00:00+00:00  runs at 2026-05-06T09:00:00+00:00",
    ]


def test_a_window_that_opens_no_more_is_named(capsys):
    """The calendar has no time for its run."""
    _, lines, _ = printed(capsys, "@daily", "--allow", "1h 0 0 0 1 1 * 2020", *AFTER, "-n", "1")
    assert lines == ["2026-05-07T00:00:00+00:00  runs never"]


@pytest.mark.parametrize("window", ["9h 0 9 * *", "9q 0 9 * * *", "9h"])
def test_a_window_that_cannot_be_read_is_refused(capsys, window):
    """With the option, and how a window is written."""
    code, lines, error = printed(capsys, "@daily", "--deny", window)
    assert (code, lines) == (2, [])
    assert "--deny" in error
    assert "9h 0 8 * * *" in error
