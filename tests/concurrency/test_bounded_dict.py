"""A dictionary that keeps the entries that were set last."""

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.concurrency.bounded_dict import BoundedDict


@given(st.lists(st.tuples(st.sampled_from(["set", "pop", "get"]), st.integers(0, 9), st.integers())), st.integers(1, 5))
def test_it_is_a_dictionary_of_the_entries_set_last(steps, limit):
    """After any sequence of operations it has the newest entries, in the order in which they were set."""
    kept, expected = BoundedDict(limit), []
    for what, key, value in steps:
        if what == "set":
            expected = [*((k, v) for k, v in expected if k != key), (key, value)][-limit:]
            kept[key] = value
        elif what == "pop":
            assert kept.pop(key, None) == dict(expected).get(key)
            expected = [(k, v) for k, v in expected if k != key]
        else:
            assert kept.get(key) == dict(expected).get(key)
        assert list(kept.items()) == expected
