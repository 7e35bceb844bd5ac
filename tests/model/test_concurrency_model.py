"""No interleaving breaks a promise of `spec.concurrency`, and each of its rules is needed."""

import pytest

from tests.model.concurrency import RULES, Concurrency

WORLDS = {
    "Queue": {"policy": "Queue"},
    "QueueLatest": {"policy": "QueueLatest"},
    "Replace": {"policy": "Replace"},
    "Queue, then Replace": {"policy": "Replace", "first": "Queue"},
    "Replace, then Queue": {"policy": "Queue", "first": "Replace"},
    "two sources in a group, Queue": {"policy": "Queue", "sources": "aba"},
    "two sources in a group, QueueLatest": {"policy": "QueueLatest", "sources": "aba"},
    "two sources in a group, Replace": {"policy": "Replace", "sources": "aba"},
}
NEEDED = {
    "group_counted": ("Queue", "two pods of the group live at the same time"),
    "taken_counted": ("Queue", "two pods of the group live at the same time"),
    "deleting_counted": ("Replace", "two pods of the group live at the same time"),
    "lists_live": ("two sources in a group, Queue", "two pods of the group live at the same time"),
    "created_in_order": ("Queue", "an older run started after a newer one"),
    "shown_first": ("Queue", "an older run started after a newer one"),
    "last_known": ("Queue", "an older run started after a newer one"),
    "oldest_first": ("Queue", "an older run started after a newer one"),
    "foreground": ("Replace", "two pods of the group live at the same time"),
    "newest_kept": ("QueueLatest", "the newest run of a source did not run to its end"),
    "settled_only": ("QueueLatest", "a run was deleted before it was recorded: it is created again"),
    "version_tested": ("QueueLatest", "a run was stopped whose policy does not allow that"),
    "recorded_policy": ("Queue, then Replace", "a run was stopped whose policy does not allow that"),
}


@pytest.mark.parametrize("name", WORLDS)
def test_no_interleaving_breaks_a_promise(name):
    """Never two pods of a group, no older run after a newer one, the newest runs, with Queue every one."""
    result = Concurrency(**WORLDS[name]).explore()
    assert result.violation is None, result.trace
    assert result.states > 1000  # the world was really walked


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_of_concurrency_is_needed(rule):
    """Leaving it out breaks exactly the promise that it keeps."""
    world, promise = NEEDED[rule]
    assert Concurrency(**WORLDS[world], without=rule).explore().violation == promise
