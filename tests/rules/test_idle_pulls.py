"""Pull requests that count as closed because nothing was delivered of them for long, and those that fill the limit."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.references import References
from git_events_runner.rules.idle_pulls import FULL, close_after, full_warnings, idle_of
from git_events_runner.rules.ledger.mutations import Outcome

NOW = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)
OLD, YOUNG = "2026-04-01T07:00:00Z", "2026-05-05T07:00:00Z"
READ = TypeAdapter(References).validate_python


def entry(at, *, closed=False, requested=2):
    """An entry whose last delivery was recorded at that time."""
    pull = {"head": "refs/pull/7/head", "fork": False, "closed": closed}
    announced = {"commit": None, "at": at}
    return {"commitHash": "a", "runs": 1, "requested": requested, "handled": 2, "announced": announced} | {
        "pullRequest": pull
    }


def status(**entries):
    return {"checkedSources": {f"app@pull/{name[1:]}": found for name, found in entries.items()} | {"app": {}}}


def test_those_without_a_delivery_for_the_time_are_closed():
    """Open ones that are older; the others are due when their own time is over; closed ones and branches never."""
    known = status(p1=entry(OLD), p2=entry(YOUNG), p3=entry(OLD, closed=True))
    known["checkedSources"]["app@heads/x"] = entry(OLD) | {"pullRequest": None}
    references = READ({"branches": {}, "pullRequests": {"closeAfter": "30d"}})
    found = idle_of(known, ["app"], references, NOW)
    assert (found.keys, found.delays) == ({"app@pull/1": 2}, (timedelta(days=29),))
    [closing] = found.mutations
    assert closing.apply(known) is Outcome.WRITE
    closed = known["checkedSources"]["app@pull/1"]
    assert (closed["pullRequest"]["closed"], closed["requested"], closed["handled"]) == (True, 3, 2)
    assert closing.apply(known) is Outcome.DONE
    assert idle_of(known, ["app"], references, NOW).mutations == []


def test_a_delivery_that_was_recorded_meanwhile_keeps_it_open():
    """The write tests the number of requests that was read."""
    known = status(p1=entry(OLD))
    [closing] = idle_of(known, ["app"], READ({"pullRequests": {"closeAfter": "30d"}}), NOW).mutations
    known["checkedSources"]["app@pull/1"]["requested"] += 1
    assert closing.apply(known) is Outcome.DONE
    assert closing.guards().counted == {"app@pull/1"}


@pytest.mark.parametrize("references", [None, {"branches": {}}, {"pullRequests": {}}])
def test_without_a_time_none_is_closed(references):
    """Unset is never."""
    found = idle_of(status(p1=entry(OLD)), ["app"], READ(references) if references else None, NOW)
    assert (found.keys, found.delays) == ({}, ())


def test_a_time_that_cannot_be_read_names_its_field():
    """A unit that does not exist is reported with the field."""
    with pytest.raises(InvalidObject, match=r"references\.pullRequests\.closeAfter.*unknown unit 'parsecs'"):
        close_after(READ({"pullRequests": {"closeAfter": "3 parsecs"}}))


def test_open_ones_that_fill_the_limit_are_a_warning_until_there_is_room():
    """Closed ones do not count; without pull requests a former warning ends."""
    references = READ({"pullRequests": {}, "limit": 2})
    full = status(p1=entry(OLD), p2=entry(YOUNG))
    [warning] = full_warnings(full, ["app"], references)
    assert (warning.reason, warning.source) == (FULL, "app")
    assert "2 open pull requests" in warning.message
    assert full_warnings(status(p1=entry(OLD), p2=entry(YOUNG, closed=True)), ["app"], references) == []
    full["warnings"] = [{"reason": FULL, "source": "app", "message": warning.message}]
    for after in (READ({"pullRequests": {}, "limit": 3}), READ({"branches": {}}), None):
        assert [one.message for one in full_warnings(full, ["app"], after)] == [None]
