"""Memory that one namespace's objects take in the store is bounded; the others' are not affected."""

from git_events_runner.edges.kube.shares import Shares, weight_of
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.resources.ref import Ref


def action(namespace, name, version, variables=0):
    env = [{"name": f"A{number}", "value": "x"} for number in range(variables)]
    metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata | {"generation": version}, "spec": {"actionJob": {"env": env}}}


def test_what_is_beyond_the_share_is_kept_without_its_spec():
    """Of 40 large Actions those that fit are read, the others are invalid with the reason; a neighbour's is read."""
    store = Store(share=lambda: 2_000_000)
    writer = StoreWriter(store, "Action")
    for number in range(40):
        writer.apply(action("evil", f"a{number}", number + 1, variables=300))
    writer.apply(action("good", "build", 99, variables=300))
    kept = [one for one in store.all("Action", "evil") if not one.partial]
    assert 1 <= len(kept) < 40
    assert sum(weight_of(one.raw) for one in kept) <= 2_000_000
    left = next(one for one in store.all("Action", "evil") if one.partial)
    assert left.model is None
    assert "objectMebibytesPerNamespace" in str(left.invalid)
    assert "spec" not in left.raw
    assert store.get(Ref("Action", "good", "build")).model is not None


def test_room_is_used_when_objects_are_listed_again():
    """After one is deleted, a list brings back the one that had no room, at the same resource version."""
    store = Store(share=lambda: 200_000)
    writer = StoreWriter(store, "Action")
    first, second = (action("evil", name, version, variables=200) for name, version in (("a", 1), ("b", 2)))
    writer.apply(first)
    writer.apply(second)
    before = writer.room
    assert store.get(Ref("Action", "evil", "b")).partial
    writer.remove(first)
    assert writer.room != before
    writer.replace([second], version="3")
    assert not store.get(Ref("Action", "evil", "b")).partial


def test_what_grows_beyond_the_share_is_left_out_and_comes_back():
    """An update that makes an object too large takes its spec out, one that makes it small brings it back."""
    store = Store(share=lambda: 100_000)
    writer = StoreWriter(store, "Action")
    for version, variables, partial in ((1, 1, False), (2, 1000, True), (3, 1, False)):
        writer.apply(action("evil", "a", version, variables=variables))
        assert store.get(Ref("Action", "evil", "a")).partial is partial


def test_nothing_is_left_of_what_was_dropped():
    """When all is dropped, the whole share is free."""
    shares = Shares(lambda: 10)
    assert shares.admit("a", 1, 10)
    assert not shares.admit("a", 2, 1)
    shares.drop("a", 1)
    shares.drop("a", 2)
    assert shares.admit("a", 3, 10)
    assert shares.room == 1
