"""Full collections of garbage walk only what is new, and cycles that were frozen are found in the end."""

import gc
import time
import weakref

from git_events_runner.garbage import FrozenSurvivors

MANY = 300_000


class Node:
    """An object that can be part of a cycle, and be followed."""

    def __init__(self):
        self.other = None


def used_s():
    """CPU seconds of a full collection."""
    began = time.thread_time()
    gc.collect()
    return time.thread_time() - began


def test_a_full_collection_walks_only_what_is_new():
    """It costs a small part of the first one, however many objects have survived it."""
    held = [[number] for number in range(MANY)]
    with FrozenSurvivors():
        first_s = used_s()
        assert min(used_s() for _ in range(3)) < first_s / 3
    assert used_s() > first_s / 3
    assert len(held) == MANY


def test_objects_that_nothing_refers_to_are_freed_while_frozen():
    """References are counted as before: what is replaced leaves no memory behind."""
    with FrozenSurvivors():
        held = [Node() for _ in range(1000)]
        gc.collect()
        frozen, last = gc.get_freeze_count(), weakref.ref(held[-1])
        held.clear()
        assert last() is None
        assert gc.get_freeze_count() <= frozen - 1000


def test_frozen_cycles_are_found_once_there_is_twice_as_much():
    """A cycle that became garbage after it was frozen stays until then, and no longer."""
    with FrozenSurvivors(few=0):
        node = Node()
        node.other = node
        followed = weakref.ref(node)
        gc.collect()
        del node
        gc.collect()
        assert followed() is not None
        held = [[number] for number in range(2 * gc.get_freeze_count())]
        gc.collect()
        gc.collect()
        assert followed() is None
        assert held


def test_nothing_is_walked_while_a_process_loads_its_objects():
    """Full collections begin when they are loaded: these are frozen without a walk."""
    walked = []

    def note(_, info):
        walked.extend([info] if info["generation"] == 2 else [])

    with FrozenSurvivors() as survivors:
        gc.callbacks.append(note)
        held = [[number] for number in range(MANY)]
        survivors.loaded()
        gc.callbacks.remove(note)
        assert walked == []
        assert gc.get_freeze_count() >= MANY
        assert gc.get_threshold()[2] < MANY
    assert len(held) == MANY
