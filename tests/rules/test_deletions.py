"""What a check does about a pull request that is closed, or that git does not show."""

from datetime import UTC, datetime, timedelta

import pytest

from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.check_values import Absent, CheckSpec, NoRun, Nothing, Observation, Observe, StartRun, Wait
from git_events_runner.rules.decision import decide, occurrence_of
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Skip, rfc3339
from git_events_runner.rules.reference_entries import Forget

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
KEY, COMMIT = "app@pull/7", "a" * 40
OPEN = {"head": "refs/pull/7/head", "fork": False, "closed": False}


def decided(*, pull=OPEN, head=None, on_delete=True, **fields):
    """The decision on the entry of a pull request with one open request, announced 5 s ago."""
    announced = {"commit": "b" * 40, "at": rfc3339(NOW - timedelta(seconds=5))}
    stored = {"runs": 1, "commitHash": COMMIT, "requested": 2, "handled": 1, "announced": announced} | fields
    entry = entry_of({"checkedSources": {KEY: stored | ({"pullRequest": pull} if pull else {})}}, KEY)
    spec = CheckSpec(source=KEY, on_delete=on_delete)
    return decide(entry, occurrence_of(None, entry), Observation(now=NOW, head=head), spec)


def test_the_closing_runs_on_delete_with_the_last_commit_before_git_is_queried():
    """What git shows does not matter; the run handles all requests."""
    found = decided(pull=OPEN | {"closed": True})
    assert found == StartRun(result=CheckResult.FIRE_DELETED, commit=COMMIT, file_hash=None, request=2)


@pytest.mark.parametrize(
    "fields", [{"commitHash": None}, {"on_delete": False}, {"commitHash": None, "waiting": {"commit": COMMIT}}]
)
def test_a_closing_without_a_run_before_it_or_without_on_delete_is_only_recorded(fields):
    """Nothing was deployed, or nothing is to be done about it."""
    found = decided(pull=OPEN | {"closed": True}, **fields)
    assert isinstance(found, NoRun)
    assert (found.result, type(found.mutations[0])) == (CheckResult.SKIP_DELETED, Forget)


def test_a_closed_one_without_an_open_request_needs_nothing():
    """A second check of it writes nothing."""
    found = decided(pull=OPEN | {"closed": True}, commitHash=None, handled=2)
    assert isinstance(found, Nothing)


def test_an_entry_without_a_record_never_runs():
    """Requests of it are handled; git is not queried."""
    for commit in (COMMIT, None):
        found = decided(pull=None, commitHash=commit)
        assert isinstance(found, NoRun)
        assert found.result is CheckResult.SKIP_DELETED


def test_an_open_one_is_queried_from_git():
    """Its head decides, as that of any reference."""
    assert decided() == Observe(part="head")


def test_one_that_git_does_not_show_is_waited_for_and_then_handled_without_a_run():
    """A forge creates the reference in the background, for 30 s; absence is no deletion."""
    found = decided(head=Absent(sent_at=NOW))
    assert isinstance(found, Wait)
    assert found.result is CheckResult.WAIT_ANNOUNCED
    late = decided(head=Absent(sent_at=NOW + timedelta(minutes=1)))
    assert isinstance(late, NoRun)
    [skip] = late.mutations
    assert isinstance(skip, Skip)
    assert (late.result, skip.handled, skip.commit) == (CheckResult.SKIP_ABSENT, 2, COMMIT)
