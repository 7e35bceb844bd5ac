"""The table of everything that parses others' bytes is whole, and its times hold."""

import pytest

from git_events_runner.resources.parsers import PARSERS, TRUSTED
from tests.repo.parsing import calls
from tests.repo.worst_inputs import INPUTS, MOST_MEASURED_MS, SERVED, cpu_ms

_SLACK_MS = 50


def test_each_parsing_call_is_in_the_table():
    """A call of a parsing function anywhere in the package is in the table, or among those for trusted bytes.

    A new one fails here: bound the bytes before the call, and write the bound and its worst time down.
    """
    known = {call for each in PARSERS for call in each.calls} | set(TRUSTED)
    assert calls() - known == set()


def test_no_entry_is_left_behind():
    """What the table and the list of trusted calls name is still there, each in one of them."""
    named = [call for each in PARSERS for call in each.calls] + list(TRUSTED)
    assert sorted(named) == sorted(set(named))
    assert set(named) - calls() == set()


def test_each_parser_has_a_worst_input():
    """Each entry names a bound, what becomes of more, and has an input that is the worst within the bound."""
    assert {each.name for each in PARSERS} == {*INPUTS, *SERVED}
    assert all(each.bound and each.refused and each.giver in {"tenant", "git server", "sender"} for each in PARSERS)


@pytest.mark.parametrize("parser", [each for each in PARSERS if each.name in INPUTS], ids=lambda each: each.name)
def test_the_worst_time_holds(parser):
    """The worst input takes no more CPU time than five times what the table says (machines differ)."""
    if parser.worst_ms > MOST_MEASURED_MS:
        assert parser.thread or parser.name == "packets of git's protocol"
        return
    assert cpu_ms(parser.name) < 5 * parser.worst_ms + _SLACK_MS
