"""The API server's clock: measured from answers, used where this machine's is wrong, whatever is done to that."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.server_clock import ServerClock
from git_events_runner.errors import ApiNotFound
from git_events_runner.resources.ref import Ref
from tests.edges.kube.scripted import Reply, Server, status

TRUE = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)


class Machine:
    """A machine whose clock is `ahead_s` ahead of the API server's; `passed` seconds since it started."""

    def __init__(self, ahead_s=0.0):
        self.passed, self.ahead_s = 0.0, ahead_s
        self.clock = ServerClock(wall=lambda: self.true.timestamp() + self.ahead_s, monotonic=lambda: self.passed)

    @property
    def true(self):
        """What the API server's clock shows."""
        return TRUE + timedelta(seconds=self.passed)

    def ask(self, there_s=0.01, back_s=0.01):
        """One request, and its way there and back."""
        sent_at = self.clock.begin()
        self.passed += there_s
        date = format_datetime(self.true, usegmt=True)
        self.passed += back_s
        self.clock.observe(date, sent_at)

    @property
    def error_s(self):
        """How far the clock's time is off."""
        return abs((self.clock.now() - self.true).total_seconds())


@pytest.mark.parametrize("ahead_s", [-86400.0, -600.0, 0.0, 3.0, 600.0, 86400.0])
def test_the_time_is_right_whatever_this_machines_clock_shows(ahead_s):
    """A day ahead, ten minutes behind: right after the first answer; small differences are left as they are."""
    machine = Machine(ahead_s)
    assert machine.clock.skew_s is None
    assert machine.error_s == abs(ahead_s)
    machine.ask()
    assert abs(machine.clock.skew_s - ahead_s) < 1
    assert machine.error_s < 1 or ahead_s == 3.0 == machine.error_s
    assert machine.clock.wrong is (abs(ahead_s) > 10)


def test_setting_this_machines_clock_changes_nothing():
    """A day ahead for fifteen seconds, between two answers."""
    machine = Machine()
    machine.ask()
    machine.ahead_s = 86400.0
    assert machine.error_s < 1
    machine.passed += 15
    assert machine.error_s < 1
    machine.ahead_s = 0.0
    assert machine.error_s < 1


def test_a_clock_of_the_api_server_that_is_set_is_followed():
    """The answer after it counts, not those before it."""
    machine = Machine()
    machine.ask()
    machine.passed += 3600  # monotonic time jumps for this machine alone: as if the server's clock had been set
    server_ahead = 600
    sent_at = machine.clock.begin()
    machine.clock.observe(format_datetime(machine.true + timedelta(seconds=server_ahead), usegmt=True), sent_at)
    assert abs(machine.clock.skew_s + server_ahead) < 1


@given(
    st.floats(-1e5, 1e5),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(1, 30)), min_size=1, max_size=20),
)
def test_slow_answers_never_make_the_time_wrong(ahead_s, exchanges):
    """However long requests are on their way, the measured skew is within the bounds of the best of them."""
    machine, best_s = Machine(ahead_s), 1e9
    for there_s, back_s, pause_s in exchanges:
        machine.ask(there_s, back_s)
        machine.passed += pause_s
        best_s = min(best_s, there_s + back_s + 1)
        assert abs(machine.clock.skew_s - ahead_s) <= best_s / 2 + 0.001


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 May 2026 07:00:00 GMT", "Wed, 06 May 2026 07:00:00"])
def test_a_date_that_cannot_be_read_says_nothing(date):
    """A proxy may do what it wants with it."""
    clock = ServerClock()
    clock.observe(date, clock.begin())
    assert clock.skew_s is None


async def test_each_answer_of_the_api_server_is_read():
    """Also a refusal; nothing is asked for the clock's sake."""
    ahead = {"Date": format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)}
    refusing = Server(Reply(status=404, body=status(404, "NotFound"), headers=ahead))
    async with refusing as server, Client.connect_to(server.url, "hush") as client:
        with pytest.raises(ApiNotFound):
            await client.get(Ref("Job", "n", "a"))
        assert 86390 < -client.clock.skew_s < 86410
        assert client.clock.now() - datetime.now(UTC) > timedelta(hours=23)
