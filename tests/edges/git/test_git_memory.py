"""Large trees: held a few at a time, and by nobody longer than they are used."""

import asyncio
import gc
import random
import tracemalloc

import pytest

from git_events_runner.edges.git import http_remote
from git_events_runner.edges.git.large_trees import LargeTrees
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.packs import Tree
from git_events_runner.edges.git.request import Repository
from tests.edges.git.gitserver import commit_tree, git, new_repository


def large(repository, files, *, seed=1):
    """A commit with so many files in a folder, each with another (missing) blob; gives its id."""
    chance = random.Random(seed)
    entries = b"".join(b"100644 file-%08d\0" % number + chance.randbytes(20) for number in range(files))
    made = git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", cwd=repository, stdin=entries)
    return commit_tree(repository, made)


async def test_places_of_large_trees():
    """A namespace has one place, all have two; a place comes back when nothing refers to its tree."""
    places = LargeTrees()
    first = await places.reserve("evil")
    second = asyncio.ensure_future(places.reserve("evil"))
    other = await places.reserve("good")
    third = asyncio.ensure_future(places.reserve("third"))
    await asyncio.sleep(0)
    assert not second.done()
    assert not third.done()
    tree = Tree(b"", {}, 0)
    first.hold_for(tree)
    other.give_back()
    await third
    await asyncio.sleep(0)
    assert not second.done()
    del tree
    gc.collect()
    (await third).give_back()
    (await second).give_back()
    await asyncio.sleep(0)
    (await places.reserve("evil")).give_back()


async def test_a_place_is_given_back_once():
    """Giving a place back twice makes no second one."""
    places = LargeTrees()
    first = await places.reserve("evil")
    first.give_back()
    first.give_back()
    await asyncio.sleep(0)
    await places.reserve("evil")
    again = asyncio.ensure_future(places.reserve("evil"))
    await asyncio.sleep(0.01)
    assert not again.done()
    again.cancel()


async def test_large_trees_of_a_namespace_come_one_after_another(git_server):
    """Eight questions for large trees hold one at a time, all are answered, and another namespace's does not wait."""
    there = []
    for number in range(8):
        repository = new_repository(git_server.root / f"r{number}.git")
        there.append((git_server.url(f"r{number}.git"), large(repository, 120_000, seed=number)))
    remote = http_remote(Limits(deadline_s=60.0))
    alive, most = set(), 0

    async def ask(number, owner):
        nonlocal most
        url, commit = there[number]
        tree = await remote.tree(Repository(url=url, owner=owner), commit)
        alive.add(number)
        most = max(most, len(alive))
        await asyncio.sleep(0.05)
        alive.discard(number)
        return len(tree)

    try:
        assert await asyncio.gather(*(ask(number, "evil") for number in range(7)), ask(7, "good")) == [120_000] * 8
    finally:
        await remote.close()
    assert most <= 2


@pytest.mark.parametrize("files", [120_000])
async def test_a_tree_is_held_as_git_does(git_server, files):
    """A tree takes less than 80 bytes a file; its entries are made when they are asked for."""
    repository = new_repository(git_server.root / "app.git")
    made = large(repository, files)
    remote = http_remote(Limits(deadline_s=60.0))
    try:
        tracemalloc.start()
        tree = await remote.tree(Repository(url=git_server.url("app.git")), made)
        held, _ = tracemalloc.get_traced_memory()
        assert held < 80 * files + 5 * 2**20
        assert sum(1 for _ in tree) == len(tree) == files
    finally:
        tracemalloc.stop()
        await remote.close()
