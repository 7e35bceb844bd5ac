"""The record of a pull request: strange values read as a fork, and an earlier event replaces no later one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Count, Outcome
from git_events_runner.rules.pull_requests import PullRecord

JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
RECORD = PullRecord(head="refs/pull/7/head", target="main", fork=False, at="2026-01-02T03:04:05Z")


@given(st.dictionaries(st.sampled_from(["head", "merge", "target", "fork", "closed", "at", "x"]), JSON) | JSON)
def test_no_stored_value_makes_an_error_or_a_fork_less(data):
    """Only `fork: false` is no fork, only `closed: true` is closed."""
    found = PullRecord.of(data)
    if found is not None:
        assert found.fork is (data.get("fork") is not False)
        assert found.closed is (data.get("closed") is True)


def test_a_record_is_read_as_it_was_written():
    """What is absent is not stored."""
    assert PullRecord.of(RECORD.as_json) == RECORD
    assert "merge" not in RECORD.as_json


@pytest.mark.parametrize(
    ("at", "wins"),
    [("2026-01-02T03:04:06Z", True), ("2026-01-02T03:04:05Z", True), ("2026-01-02T03:04:04Z", False), (None, True)],
)
def test_a_delivery_of_an_earlier_event_only_requests_a_check(at, wins):
    """The record and the announced commit stay; the request is counted all the same."""
    status = {}
    for number, (record, commit) in enumerate(
        [(RECORD, "a" * 40), (PullRecord(head=None, fork=True, closed=True, at=at), None)]
    ):
        count = Count(requests={"app@pull/7": commit}, delivery=f"{number:011}", at="2026-01-02T03:05:00Z", pulls={
            "app@pull/7": record
        })  # fmt: skip
        assert count.apply(status) is Outcome.WRITE
    entry = entry_of(status, "app@pull/7")
    assert (entry.requested, entry.pull.closed) == (2, wins)
    assert (entry.announced.commit is None) == wins
