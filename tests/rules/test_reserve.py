"""The entry of a new reference has its number, and stays, before its Job is created."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Count, Outcome, rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.reserve import Reserve, is_reserved
from git_events_runner.rules.reference_entries import is_over

NOW = datetime(2026, 5, 6, 7, tzinfo=UTC)
KEY = "app@heads/x"
SECONDS = st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds))


def reserve(status, now=NOW, runs=7):
    """The status after an entry of that number, without a commit, was reserved, and the outcome."""
    after, [outcome] = combine(status, [Reserve(source=KEY, expected=(runs, None), now=now)])
    return after, outcome


def test_an_entry_that_does_not_exist_is_written_with_the_common_number():
    """What other keys leave behind later does not raise it."""
    status, outcome = reserve({"lastRunNumber": 7})
    assert outcome is Outcome.WRITE
    assert entry_of(status | {"lastRunNumber": 90}, KEY).key == (7, None)


def test_a_delivery_of_just_now_has_reserved_it():
    """It costs no further write."""
    status, _ = combine({"lastRunNumber": 7}, [Count(requests={KEY: None}, delivery="x" * 11, at=rfc3339(NOW))])
    assert reserve(status)[1] is Outcome.DONE
    assert reserve(status, NOW + timedelta(seconds=90))[1] is Outcome.WRITE


@pytest.mark.parametrize("recorded", [{"runs": 8, "commitHash": None}, {"runs": 7, "commitHash": "a" * 40}])
def test_what_was_recorded_meanwhile_is_kept(recorded):
    """The check begins again."""
    status = {"checkedSources": {KEY: recorded}}
    assert reserve(status) == (status, Outcome.STALE)


@given(age=SECONDS, later=SECONDS)
def test_what_is_reserved_is_not_pruned_for_two_minutes(age, later):
    """The request that creates the Job takes ten seconds at most; the rest is for clocks that differ."""
    entry = entry_of(reserve({"lastRunNumber": 7})[0], KEY)
    if is_reserved(entry, NOW + age) and later < timedelta(minutes=2):
        assert not is_over(entry, NOW + age + later)
