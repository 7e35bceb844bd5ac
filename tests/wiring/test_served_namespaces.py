"""What is reported of namespaces that are no longer served."""

import pytest

from git_events_runner.resources.ref import Ref
from git_events_runner.wiring.served_namespaces import ServedNamespaces
from tests.flow.world import Cluster

REF = Ref("ConfigMap", "ger", "config")


def marks(*served):
    cluster = Cluster()
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "config", "namespace": "ger"}})
    return cluster, ServedNamespaces(served=served, store=cluster.store, announcer=cluster, ref=REF)


@pytest.mark.parametrize(
    ("before", "now", "left"),
    [
        (("a", "b", "c"), ("a",), "b, c"),
        (("a",), ("a", "b"), None),
        (("a", "b"), (), None),
        ((), ("a", "b"), "all namespaces except a, b"),
        (tuple(f"n{number:02}" for number in range(30)), ("n00",), "n19, n20 and 9 more"),
    ],
)
def test_a_namespace_that_is_taken_off_the_list_is_reported(before, now, left):
    """By an Event with its name, which says what to do; one that is added, or still served by a longer list, is not."""
    cluster, served = marks(*now)
    served.replaced(marks(*before)[1].annotations)
    if left is None:
        assert cluster.told == []
        return
    [(ref, reason, note)] = cluster.told
    assert (ref, reason) == (REF, "NamespaceLeft")
    assert note.endswith(left)
    assert "delete them" in note


def test_what_others_wrote_into_the_lease_is_no_namespace():
    """An annotation without a name, or of another program."""
    cluster, served = marks("a")
    for strange in ({}, {"other": "x"}, dict.fromkeys(served.annotations, "")):
        served.replaced(strange)
    assert cluster.told == []
