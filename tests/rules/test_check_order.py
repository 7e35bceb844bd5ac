"""Which source of a trigger is checked next."""

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.check_order import PASSED_MOST, CheckOrder, Rank


def next_of(order, waiting):
    """The next one of sources with their ranks."""
    return order.next_of({rank: {name: True for name, mine in waiting.items() if mine is rank} for rank in Rank})


def check_next(order, waiting):
    """Check the next one, which then waits no more."""
    name = next_of(order, waiting)
    rank = waiting.pop(name)
    order.started(name, rank, waiting.values())
    return name


def test_requests_come_first_then_scheduled_times_then_what_failed():
    """Of one rank the one that waits longest."""
    waiting = {"x": Rank.FAILING, "b": Rank.SCHEDULED, "c": Rank.REQUEST, "a": Rank.SCHEDULED, "d": Rank.REQUEST}
    order = CheckOrder()
    assert [check_next(order, waiting) for _ in range(5)] == ["c", "d", "b", "a", "x"]
    assert next_of(order, {}) is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(Rank)), min_size=1, max_size=6))
def test_no_source_waits_for_ever(named):
    """However the others come back, each of them is checked within a bounded number of checks."""
    ranks = dict(named)
    order, waiting, last = CheckOrder(), dict(ranks), dict.fromkeys(ranks, 0)
    for number in range(300):
        name = check_next(order, waiting)
        last[name] = number
        waiting[name] = ranks[name]
        assert number - min(last.values()) <= (PASSED_MOST + 1) * 2 * len(Rank) * len(ranks)


def test_a_healthy_source_waits_for_no_check_of_a_failing_one_that_begins_later():
    """Also when it is the turn of a failing one: one that has not been checked since goes first."""
    order = CheckOrder()
    for _ in range(PASSED_MOST + 3):
        waiting = {"x": Rank.FAILING, "a": Rank.REQUEST}
        if next_of(order, waiting) == "x":
            break
        check_next(order, waiting)
    assert next_of(order, {"x": Rank.FAILING, "a": Rank.REQUEST}) == "x"
    assert next_of(order, {"x": Rank.FAILING, "a": Rank.REQUEST, "b": Rank.SCHEDULED}) == "a"
