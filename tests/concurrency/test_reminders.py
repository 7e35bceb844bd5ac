"""Keys that are handled again at a time."""

import asyncio
from datetime import timedelta

from git_events_runner.concurrency.reminders import Reminders
from tests.flow.virtual import virtual


def s(*seconds):
    return [timedelta(seconds=one) for one in seconds]


@virtual
async def test_a_key_is_due_at_the_earliest_of_its_times():
    """The shortest delay counts; a later reminder does not put an earlier one off; none at all ends it."""
    made = Reminders()
    made.put("a", s(9, 5))
    made.put("a", s(20))
    made.put("b", s(5))
    made.put("b", [])
    await asyncio.sleep(4.9)
    assert made.due() == []
    await asyncio.sleep(0.1)
    assert made.due() == ["a"]
    made.put("a", s(3))
    assert made.due() == []
    await asyncio.sleep(3)
    assert made.due() == ["a"]
    made.drop("a")
    assert made.due() == []
