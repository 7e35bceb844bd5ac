"""Records of cancelled runs in the status of a Notifier."""

from datetime import timedelta

import pytest

from git_events_runner.resources.notifiers import CANCELLED_MAX
from git_events_runner.rules.notifications.cancelled import (
    cancelled,
    record_of,
    records_of,
    report_from,
    without_past,
)
from tests.rules.notifications.samples import START, run

NOW = START


def test_a_record_gives_back_the_report():
    """Every field of the message survives."""
    report = cancelled(run(), "Superseded", NOW)
    assert report.description == "cancelled: superseded by a newer run"
    assert report_from(record_of(report)) == report


@pytest.mark.parametrize("field", ["jobUid", "commit", "number", "repoUri", "triggerKind"])
def test_an_incomplete_record_is_ignored(field):
    """A status may have been written by hand."""
    record = record_of(cancelled(run(), "Deleted", NOW))
    assert report_from(record | {field: None}) is None
    assert report_from({name: value for name, value in record.items() if name != field}) is None


@pytest.mark.parametrize("status", [None, [], {"cancelled": {}}, {"cancelled": [1, None, {"jobUid": 3}]}])
def test_a_wrong_status_has_no_records(status):
    """Nothing in it raises."""
    assert records_of(status) == {}


def test_records_are_removed_when_they_are_not_needed():
    """Ten minutes after the message, a day after the end, and without a time immediately."""
    ended = record_of(cancelled(run(), "Deleted", NOW))
    sent = ended | {"mark": "Cancelled", "sent": "2026-05-06T07:00:00Z"}
    refused = sent | {"mark": "!Cancelled@1"}
    records = {"waits": ended, "sent": sent, "refused": refused, "wrong": {"jobUid": "wrong"}}
    assert list(without_past(records, NOW)) == ["waits", "sent", "refused"]
    assert list(without_past(records, NOW + timedelta(minutes=11))) == ["waits", "refused"]
    assert list(without_past(records, NOW + timedelta(hours=25))) == []


def test_too_many_records_keep_those_that_wait():
    """The status is bounded; sent ones are removed first, then the oldest."""
    record = record_of(cancelled(run(), "Deleted", NOW))
    sent = record | {"mark": "Cancelled", "sent": record["ended"]}
    records = {f"w{n}": record for n in range(CANCELLED_MAX - 1)} | {f"s{n}": sent for n in range(9)}
    assert list(without_past(records, NOW)) == [f"w{n}" for n in range(CANCELLED_MAX - 1)] + ["s8"]
    assert len(without_past({str(n): record for n in range(500)}, NOW)) == CANCELLED_MAX
