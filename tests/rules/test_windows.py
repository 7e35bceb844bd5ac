"""Windows: when they open and close, also where clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.windows import Window as WindowSpec
from git_events_runner.rules.waits import closed_until
from git_events_runner.rules.windows import Windows, parse_windows

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
OFFICE = WindowSpec(allow="0 8 * * 1-5", duration="9h", time_zone="Europe/Berlin")
NIGHT = WindowSpec(allow="0 22 * * *", duration="8h", time_zone="Europe/Berlin")
XMAS = WindowSpec(deny="0 0 24 12 *", duration="72h")
GAP = WindowSpec(allow="30 2 * * *", duration="1h", time_zone="Europe/Berlin")
HOURLY = WindowSpec(allow="0 * * * *", duration="10m", time_zone="Europe/Berlin")
FREEZE = WindowSpec(deny="0 12 * * *", duration="1h")


def windows(*specs):
    return Windows((parse_windows(specs, "spec.windows"),))


def at(text, zone=UTC, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


@pytest.mark.parametrize(
    ("specs", "moment", "opens"),
    [
        ([OFFICE], at("2026-05-06T12:00", BERLIN), None),
        ([OFFICE], at("2026-05-06T08:00", BERLIN), None),
        ([OFFICE], at("2026-05-06T07:59:59", BERLIN), at("2026-05-06T08:00", BERLIN)),
        ([OFFICE], at("2026-05-06T17:00", BERLIN), at("2026-05-07T08:00", BERLIN)),
        ([OFFICE], at("2026-05-08T18:00", BERLIN), at("2026-05-11T08:00", BERLIN)),
        ([XMAS], at("2026-12-23T23:59:59"), None),
        ([XMAS], at("2026-12-24T00:00"), at("2026-12-27T00:00")),
        ([XMAS], at("2026-12-27T00:00"), None),
        ([OFFICE, XMAS], at("2026-12-24T10:00", BERLIN), at("2026-12-28T08:00", BERLIN)),
        ([OFFICE, FREEZE], at("2026-05-06T12:30"), at("2026-05-06T13:00")),
        ([OFFICE, NIGHT], at("2026-05-06T19:00", BERLIN), at("2026-05-06T22:00", BERLIN)),
        ([OFFICE, NIGHT], at("2026-05-06T23:00", BERLIN), None),
        ([WindowSpec(allow="0 0 1 1 *", duration="30h")], at("2027-01-02T05:59:59"), None),
        ([WindowSpec(allow="0 0 0 1 1 * 2020", duration="1h")], at("2026-01-01T00:00"), "never"),
        ([WindowSpec(deny="* * * * *", duration="1h")], at("2026-01-01T00:00"), "later"),
    ],
)
def test_when_runs_may_start(specs, moment, opens):
    """Inside an allowed window and in no denied one; else at the first such time."""
    until, _ = closed_until(windows(*specs), moment)
    if opens == "never":
        assert until.year == 9999
    elif opens == "later":
        assert until > moment
    else:
        assert until == opens


@pytest.mark.parametrize(
    ("spec", "opens", "closes"),
    [
        # The clocks go forward on 2026-03-29 at 02:00 in Berlin, and back on 2026-10-25 at 03:00.
        (NIGHT, at("2026-03-28T22:00", BERLIN), at("2026-03-29T07:00", BERLIN)),
        (NIGHT, at("2026-10-24T22:00", BERLIN), at("2026-10-25T05:00", BERLIN)),
        (OFFICE, at("2026-03-30T08:00", BERLIN), at("2026-03-30T17:00", BERLIN)),
        (GAP, at("2026-03-29T03:00", BERLIN), at("2026-03-29T04:00", BERLIN)),
        (GAP, at("2026-10-25T02:30", BERLIN), at("2026-10-25T02:30", BERLIN, fold=1)),
        (HOURLY, at("2026-10-25T02:00", BERLIN, fold=1), at("2026-10-25T02:10", BERLIN, fold=1)),
        (HOURLY, at("2026-10-25T02:00", BERLIN, fold=0), at("2026-10-25T02:10", BERLIN, fold=0)),
        (HOURLY, at("2026-03-29T03:00", BERLIN), at("2026-03-29T03:10", BERLIN)),
        # New York: forward on 2026-03-08 at 02:00, back on 2026-11-01 at 02:00.
        (
            WindowSpec(allow="0 1 * * *", duration="2h", time_zone="America/New_York"),
            at("2026-03-08T01:00", NEW_YORK),
            at("2026-03-08T04:00", NEW_YORK),
        ),
        (
            WindowSpec(allow="0 1 * * *", duration="2h", time_zone="America/New_York"),
            at("2026-11-01T01:00", NEW_YORK),
            at("2026-11-01T02:00", NEW_YORK),
        ),
    ],
)
def test_windows_at_changes_of_the_clocks(spec, opens, closes):
    """A window opens as a schedule of its expression fires, and lasts for its duration of real time."""
    second, both = timedelta(seconds=1), windows(spec)
    opens, closes = opens.astimezone(UTC), closes.astimezone(UTC)
    assert closed_until(both, opens - second)[0] == opens
    assert closed_until(both, opens)[0] is None
    assert closed_until(both, closes - second)[0] is None
    assert closed_until(both, closes)[0] is not None


@settings(deadline=None)
@given(
    st.floats(0, 365 * 86400),
    st.sampled_from([[OFFICE], [XMAS], [NIGHT, FREEZE], [HOURLY], [OFFICE, NIGHT, XMAS], [GAP, FREEZE]]),
)
def test_what_is_found_at_one_time_holds_as_long_as_it_says(second, specs):
    """The time until which an opening or a closing holds may be kept: nothing in between says otherwise."""
    both, moment = windows(*specs), at("2026-01-01T00:00") + timedelta(seconds=second)
    until, holds_until = closed_until(both, moment)
    assert holds_until is not None
    assert holds_until > moment
    for part in (0.3, 0.999):
        assert closed_until(both, moment + (holds_until - moment) * part)[0] == until
    assert until is None or closed_until(both, until)[0] is None


def test_the_windows_of_a_trigger_and_of_the_installation_both_have_to_be_open():
    """A trigger can only narrow what the installation allows."""
    both = Windows((parse_windows([OFFICE], "spec.windows"), parse_windows([FREEZE], "policy.windows")))
    assert closed_until(both, at("2026-05-06T10:30"))[0] is None
    assert closed_until(both, at("2026-05-06T12:30"))[0] == at("2026-05-06T13:00")
    assert closed_until(both, at("2026-05-06T03:00"))[0] == at("2026-05-06T06:00")
    late = Windows((parse_windows([OFFICE], "a"), parse_windows([NIGHT], "b")))
    assert closed_until(late, at("2026-05-06T12:00"))[0] > at("2026-05-06T12:00")  # they never meet


@pytest.mark.parametrize(
    ("spec", "field", "problem"),
    [
        ({"allow": "0 25 * * *", "duration": "1h"}, "spec.windows[0].allow", "hour"),
        ({"deny": "0 8 * *", "duration": "1h"}, "spec.windows[0].deny", "fields"),
        ({"allow": "0 8 * * *", "duration": "soon"}, "spec.windows[0].duration", "interval"),
        ({"allow": "0 8 * * *", "duration": "1h", "time_zone": "Mars/Base"}, "spec.windows[0].timeZone", "time zone"),
        (
            {"allow": "TZ=UTC 0 8 * * *", "duration": "1h", "time_zone": "UTC"},
            "spec.windows[0].timeZone",
            "given twice",
        ),
    ],
)
def test_a_window_that_cannot_be_read_is_named(spec, field, problem):
    """The problem has the field that is to be corrected."""
    with pytest.raises(InvalidObject, match=problem) as found:
        parse_windows([WindowSpec(**spec)], "spec.windows")
    assert found.value.field == field
