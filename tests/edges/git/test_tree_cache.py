"""Which trees are kept."""

from git_events_runner.edges.git import tree_cache
from git_events_runner.edges.git.tree_cache import TreeCache


def test_a_repository_keeps_the_trees_that_it_used_last():
    """However many commits are pushed to it, and however much room there is; others keep theirs."""
    kept = TreeCache(limit=10_000)
    kept.put(("other", "0"), ["a"], "n")
    kept.put(("app", "first"), ["a"], "n")
    for number in range(200):
        kept.put(("app", str(number)), ["a"], "n")
        assert kept.get(("app", "first"))
    found = [number for number in range(200) if kept.get(("app", str(number)))]
    assert found == list(range(200 - tree_cache._EACH + 1, 200))
    assert kept.get(("other", "0"))


def test_trees_of_a_repository_that_is_not_configured_any_more_are_dropped():
    """They are not left to the limit, which an installation may never reach."""
    kept = TreeCache(limit=10_000)
    for repository in ("app", "other"):
        kept.put((repository, "1"), ["a"], "n")
    kept.forget(["app", "unknown"])
    assert kept.get(("app", "1")) is None
    assert kept.get(("other", "1"))
