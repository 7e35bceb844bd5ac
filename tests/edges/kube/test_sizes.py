"""How much each namespace configures, as the store counts it."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.edges.kube.sizes import Sizes
from git_events_runner.resources.ref import Ref

REFS = [
    Ref(kind, None if kind == "ClusterGitRepo" else namespace, f"{kind}{number}".lower())
    for kind in ("ScheduleTrigger", "WebhookTrigger", "GitRepo", "ClusterGitRepo", "Job")
    for namespace in ("a", "b")
    for number in range(2)
]


def model(names):
    return SimpleNamespace(spec=SimpleNamespace(sources=SimpleNamespace(names=range(names))))


@given(steps=st.lists(st.tuples(st.sampled_from(REFS), st.one_of(st.none(), st.integers(-1, 5))), max_size=60))
def test_what_is_counted_is_what_is_there(steps):
    """However objects come, change, become invalid (-1) and go, the counts are those of the objects that are there."""
    sizes, there = Sizes(), {}
    for ref, names in steps:
        if names is None:
            sizes.drop(ref)
            there.pop(ref, None)
        else:
            sizes.count(ref, None if names < 0 else model(names))
            there[ref] = max(names, 0)
    assert sizes.objects() == sum(ref.kind != "Job" for ref in there)
    cluster = sum(ref.kind == "ClusterGitRepo" for ref in there)
    for namespace in ("a", "b"):
        own = {ref: names for ref, names in there.items() if ref.namespace == namespace}
        triggers = [names for ref, names in own.items() if ref.kind.endswith("Trigger")]
        sources = sum(ref.kind == "GitRepo" for ref in own)
        assert sizes.triggers(namespace) == len(triggers)
        assert sizes.repositories(namespace) == 2 * (sources + min(sum(triggers), cluster))
        assert sizes.requests(namespace) == min(2 * sum(triggers), len(triggers) * sizes.repositories(namespace))


def test_invented_names_give_no_room():
    """A trigger that names a thousand sources has room for those that exist."""
    sizes = Sizes()
    sizes.count(Ref("ScheduleTrigger", "a", "nightly"), model(1000))
    assert sizes.requests("a") == 0
    sizes.count(Ref("GitRepo", "a", "app"), None)
    assert sizes.requests("a") == 2
