"""Requests to check a source, and two of them as one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.messages import CheckRequest

START = datetime(2026, 5, 6, 7, tzinfo=UTC)


class Fence:
    """A leadership."""

    def check(self):
        """It holds."""


def due(minutes, fence=None):
    at = START + timedelta(minutes=minutes)
    ref = Ref("ScheduleTrigger", "n", "clock")
    return CheckRequest(trigger=ref, uid="u", source="app", due_at=rfc3339(at), scheduled=at, fence=fence)


@pytest.mark.parametrize(("first", "second"), [(0, 60), (60, 0)])
def test_the_later_of_two_scheduled_times_stays_with_its_leadership(first, second):
    """Also when the check of the earlier one is submitted again, after a write that came too late."""
    fences = {0: Fence(), 60: Fence()}
    merged = due(first, fences[first]).merge(due(second, fences[second]))
    assert merged.due_at == due(60).due_at
    assert merged.scheduled == due(60).scheduled
    assert merged.fence is fences[60]


def test_a_scheduled_time_is_lost_to_no_request():
    """A delivery that joins it, or that it joins, is checked with it, as the leader's work."""
    fence = Fence()
    request = replace(due(0), due_at=None, scheduled=None)
    for merged in (request.merge(due(60, fence)), due(60, fence).merge(request)):
        assert merged.due_at == due(60).due_at
        assert merged.scheduled == due(60).scheduled
        assert merged.fence is fence
