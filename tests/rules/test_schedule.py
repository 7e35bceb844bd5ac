"""Schedules: every form of the contract, changes of the clock, what is refused, what is made up."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.schedule.cron import Cron
from git_events_runner.rules.schedule.intervals import parse_interval
from git_events_runner.rules.schedule.schedule import Schedule, due, parse_schedule

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


def fires(expression, after, count=3):
    """The next due times, as text."""
    cron, found = Cron.parse(expression), []
    for _ in range(count):
        after = cron.next_due(after)
        found.append(after.isoformat() if after else None)
    return found


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("30s", 30_000),
        ("1h 15m", 4_500_000),
        ("1h15m", 4_500_000),
        ("2days 3 hours", 183_600_000),
        ("1500ms", 1500),
        ("1w", 604_800_000),
        ("1month", 2_630_016_000),
        ("1y", 31_557_600_000),
        ("1000000us", 1000),
        ("1.5h", 5_400_000),
        ("1 5m", 900_000),
    ],
)
def test_intervals_are_read_as_the_original_does(text, milliseconds):
    """The humantime format, with and without blanks."""
    assert parse_interval(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "  ", "10", "s", "1.h", ".5h", "1.5.5h", "-1s", "5 parsecs", "0s", "500ms", "200y", "9" * 300]
)
def test_wrong_intervals_are_refused_naming_the_field(text):
    """No number, no unit, too short, too long."""
    with pytest.raises(InvalidObject) as refused:
        parse_interval(text)
    assert refused.value.field == "spec.schedule.interval"


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("*/5 * * * *", "2026-05-06T07:10:00+00:00"),
        ("15 8 9 * * *", "2026-05-06T09:08:15+00:00"),
        ("0 0 9 1 1 ? 2027", "2027-01-01T09:00:00+00:00"),
        ("0 9 * * mon-fri", "2026-05-06T09:00:00+00:00"),
        ("0 9 L * *", "2026-05-31T09:00:00+00:00"),
        ("0 9 * * fri#1", "2026-06-05T09:00:00+00:00"),
        ("0 9 16W * *", "2026-05-15T09:00:00+00:00"),
        ("0 9 1 JAN,jul ?", "2026-07-01T09:00:00+00:00"),
        ("@hourly", "2026-05-06T08:00:00+00:00"),
        ("@daily", "2026-05-07T00:00:00+00:00"),
        ("@weekly", "2026-05-10T00:00:00+00:00"),
        ("@monthly", "2026-06-01T00:00:00+00:00"),
        ("@yearly", "2027-01-01T00:00:00+00:00"),
        ("TZ=Europe/Kyiv 0 12 * * *", "2026-05-06T12:00:00+03:00"),
        ("CRON_TZ=America/New_York 0 12 * * *", "2026-05-06T12:00:00-04:00"),
    ],
)
def test_every_form_of_cron_fires_when_it_says(expression, first):
    """5, 6 (seconds first) and 7 fields (year last), names, ? L W #, aliases, zones."""
    assert fires(expression, NOW, 1) == [first]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("30 3 * * *", "2026-03-28T12:00", ["2026-03-29T04:00:00+03:00", "2026-03-30T03:30:00+03:00"]),
        ("30 3 * * *", "2026-10-24T12:00", ["2026-10-25T03:30:00+03:00", "2026-10-26T03:30:00+02:00"]),
        ("0,30 3 * * *", "2026-03-28T12:00", ["2026-03-29T04:00:00+03:00", "2026-03-30T03:00:00+03:00"]),
        ("30 * * * *", "2026-03-29T02:00", ["2026-03-29T02:30:00+02:00", "2026-03-29T04:30:00+03:00"]),
        ("30 * * * *", "2026-10-25T03:00", ["2026-10-25T03:30:00+03:00", "2026-10-25T03:30:00+02:00"]),
    ],
)
def test_a_change_of_the_clock(expression, after, expected):
    """A fixed hour fires once at a repeated time, and at the end of a gap; others go through real time."""
    moment = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo("Europe/Kyiv"))
    assert fires("TZ=Europe/Kyiv " + expression, moment, 2) == expected


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* *", "* * * * * * * *", "x * * * *", "99 * * * *", "@reboot", "@every 5m", "R * * * *", "H H * * *"),
        *("0 0 30 2 *", "0 0 31 2,4 *", "TZ=Nowhere/At 0 0 * * *", "0 0 0 1 1 * 1960", "* * * * * # now", "1" * 300),
        *("TZ=../../etc/passwd 0 0 * * *", "0 0 * * $(id)", "*/0 * * * *"),
    ],
)
def test_wrong_crons_are_refused_naming_the_field(expression):
    """Nonsense, random ones, those that never fire, unknown zones, and what is too long."""
    with pytest.raises(InvalidObject) as refused:
        Cron.parse(expression)
    assert refused.value.field == "spec.schedule.cron"


@given(st.text(alphabet="0123456789*/,-?LW# @", max_size=60))
def test_no_text_breaks_the_parser(text):
    """It is a schedule with a next time, or refused."""
    try:
        cron = Cron.parse(text)
    except InvalidObject:
        return
    following = cron.next_due(NOW)
    assert following is None or following > NOW


@given(st.integers(min_value=1, max_value=10**7), st.text(max_size=20), st.integers(min_value=0, max_value=10**9))
def test_the_grid_has_the_interval_between_its_points(seconds, key, shift):
    """Due times are strictly after, exactly one interval apart, and the same for the same key."""
    schedule, moment = Schedule(interval_ms=seconds * 1000), NOW + timedelta(seconds=shift % 10**6)
    first = schedule.next_due(moment, phase_key=key)
    second = schedule.next_due(first, phase_key=key)
    assert moment < first <= moment + timedelta(seconds=seconds)
    assert second - first == timedelta(seconds=seconds)
    assert schedule.last_due(first, phase_key=key) == first


def test_triggers_on_one_repository_fall_due_together_and_others_apart():
    """The phase is a hash of the key."""
    schedule = Schedule(interval_ms=3_600_000)
    same = {schedule.next_due(NOW, phase_key="https://x/a") for _ in range(3)}
    other = schedule.next_due(NOW, phase_key="https://x/b")
    assert len(same) == 1
    assert other not in same


def planned(schedule, *, answered=None, spread=None):
    return due(schedule, phase_key="k", now=NOW, answered_at=answered, spread_key=spread)


def test_the_first_check_comes_at_once():
    """A source never looked at is due now, whatever its schedule."""
    for schedule in (parse_schedule("1y", None), parse_schedule(None, "0 0 1 1 *")):
        assert planned(schedule).submit_at == NOW


def test_what_was_missed_is_made_up_once():
    """After an outage of days one check, for the last due time; spread over 30 s when a leader begins."""
    schedule = parse_schedule(None, "0 * * * *")
    answered = NOW - timedelta(days=3)
    found = planned(schedule, answered=answered, spread="uid")
    assert found.due_at == NOW.replace(minute=0, second=0)
    assert NOW <= found.submit_at < NOW + timedelta(seconds=30)
    after = planned(schedule, answered=found.due_at)
    assert after.due_at == NOW.replace(hour=8, minute=0, second=0)


def test_a_short_interval_is_not_made_up():
    """Its next due time is soon enough."""
    schedule = parse_schedule("30s", None)
    found = planned(schedule, answered=NOW - timedelta(hours=1), spread="uid")
    assert found.due_at > NOW


@pytest.mark.parametrize(("before_s", "made_up"), [(29, False), (31, True)])
def test_a_missed_time_is_left_to_a_due_time_that_is_near(before_s, made_up):
    """One check within half a minute answers both; only where each check runs there are two."""
    schedule, now = parse_schedule(None, "0 * * * *"), NOW.replace(minute=0, second=0) - timedelta(seconds=before_s)
    options = {"phase_key": "k", "now": now, "answered_at": NOW - timedelta(days=1), "spread_key": "uid"}
    found = due(schedule, **options)
    assert (found.due_at < now) == made_up
    if not made_up:
        assert found.due_at == found.submit_at == NOW.replace(minute=0, second=0)
    assert due(schedule, **options, each_runs=True).due_at == NOW.replace(minute=0, second=0) - timedelta(hours=1)


def test_a_time_between_a_missed_one_and_its_late_check_is_not_skipped():
    """What came due while the check of a missed time waited for its turn is due at once."""
    schedule = parse_schedule(None, "0 * * * *")
    found = planned(schedule, answered=NOW.replace(hour=6, minute=0, second=0))
    assert found.due_at == NOW.replace(minute=0, second=0)
    assert found.submit_at == NOW


def test_a_schedule_that_is_over_is_never_due_again():
    """A year that has passed: no due time, no error."""
    schedule = parse_schedule(None, "0 0 0 1 1 * 2020")
    found = planned(schedule, answered=NOW - timedelta(days=1))
    assert (found.due_at, found.submit_at) == (None, None)


@pytest.mark.parametrize(("interval", "cron"), [(None, None), ("1s", "* * * * *")])
def test_exactly_one_form_is_given(interval, cron):
    """Neither and both are refused."""
    with pytest.raises(InvalidObject, match="exactly one"):
        parse_schedule(interval, cron)


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
)
@pytest.mark.parametrize(
    "form", [("1h", None), ("100y", None), (None, "0 * * * *"), (None, "TZ=Europe/Kyiv 0 0 29 2 *")]
)
def test_no_time_that_a_status_may_hold_ends_the_program(text, form):
    """Who may write a status, or a Job's annotations, harms his own trigger at most."""
    assert planned(parse_schedule(*form), answered=datetime.fromisoformat(text)).due_at is not None


@given(
    st.sampled_from(["0 9 * * 5L", "0 9 1,15W * *", "5 4 31W 2 *", "0 0 ? * 1#1,5", "0 0 L,10W * fri#5", "7 7 29 2 *"]),
    st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1)),  # noqa: DTZ001  hypothesis wants them so
)
def test_no_time_is_between_a_moment_and_the_next(expression, wall):
    """The next time is the last one at its own instant, and a second before it the last one is not after the moment."""
    cron, moment = Cron.parse(expression), wall.replace(tzinfo=UTC)
    following = cron.next_due(moment)
    assert cron.last_due(following) == following
    assert cron.last_due(following - timedelta(seconds=1)) <= moment


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("99 * * * *", "minute 99: must be 0 to 59"),
        ("0 24 * * *", "hour 24: must be 0 to 23"),
        ("0 0 32 * *", "day of month 32: must be 1 to 31"),
        ("0 0 * jux *", "month JUX: must be 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", "day of week 8: must be 0 to 7 or SUN to SAT"),
        ("61 0 0 * * *", "second 61: must be 0 to 59"),
        ("0 0 0 1 1 * 1960", "year 1960: must be 1970 to 2099"),
        ("*/0 * * * *", "minute */0: / is followed by a step from 1"),
        ("0 0 * * L5", "day of week L5: the last one of a month is written 5L"),
        ("0 0 * * 1#6", "day of week 1#6: # is followed by 1 to 5"),
    ],
)
def test_a_wrong_cron_field_is_named_with_its_range(expression, problem):
    """The problem says which field, what stands in it, and what may."""
    with pytest.raises(InvalidObject) as refused:
        Cron.parse(expression)
    assert refused.value.problem == problem
