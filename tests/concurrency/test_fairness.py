"""Fair shares: turns by weight, at most one round of waiting, and a free slot for a namespace that holds none."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.concurrency import fairness
from git_events_runner.concurrency.fairness import FairCache, RoundRobin, Shares, equal, fair_order

NAMESPACES = "abcde"
WEIGHTS = st.fixed_dictionaries({name: st.integers(1, 5) for name in NAMESPACES})
STEPS = st.lists(st.one_of(st.sampled_from(NAMESPACES), st.none()), max_size=120)


@given(weights=WEIGHTS, steps=STEPS)
def test_a_namespace_with_work_waits_for_at_most_one_round(weights, steps):
    """Between two items of a namespace that always has work, each other namespace has at most its weight of turns."""
    queue = RoundRobin(weight=weights.__getitem__)
    served_since = {}
    for step in steps:
        if step is not None:
            if not queue.waiting(step):
                served_since[step] = dict.fromkeys(NAMESPACES, 0)
            queue.put(step, step)
            continue
        taken = queue.pop()
        if taken is None:
            assert not len(queue)
            continue
        for waiting, served in served_since.items():
            if waiting != taken[0]:
                served[taken[0]] += 1
                assert served[taken[0]] <= weights[taken[0]]
        if queue.waiting(taken[0]):
            served_since[taken[0]] = dict.fromkeys(NAMESPACES, 0)
        else:
            del served_since[taken[0]]


@given(weights=WEIGHTS, rounds=st.integers(1, 4))
def test_each_namespace_has_its_weight_of_turns_in_a_round(weights, rounds):
    """While all have work, so many whole rounds serve each namespace exactly that many times its weight."""
    queue = RoundRobin(weight=weights.__getitem__)
    for name in NAMESPACES:
        for number in range(weights[name] * (rounds + 1)):
            queue.put(name, number)
    served = [queue.pop() for _ in range(sum(weights.values()) * rounds)]
    assert {name: sum(one == name for one, _ in served) for name in NAMESPACES} == {
        name: weights[name] * rounds for name in NAMESPACES
    }


@given(steps=STEPS)
def test_nothing_is_lost_and_each_namespace_keeps_its_own_order(steps):
    """What is put is taken once, in the order in which its namespace put it."""
    queue, put, taken = RoundRobin(weight=equal), {}, {}
    for number, step in enumerate(steps):
        if step is not None:
            queue.put(step, number)
            put.setdefault(step, []).append(number)
        elif found := queue.pop():
            taken.setdefault(found[0], []).append(found[1])
    while found := queue.pop():
        taken.setdefault(found[0], []).append(found[1])
    assert taken == put


def test_a_full_namespace_takes_no_room_from_another():
    """The limit is one namespace's own."""
    queue = RoundRobin(weight=equal, limit=2)
    assert [queue.put("a", number) for number in range(3)] == [True, True, False]
    assert queue.put("b", 0)
    assert (len(queue), queue.waiting("a"), queue.waiting("b")) == (3, 2, 1)


def test_a_namespace_that_may_not_take_is_passed_over():
    """The others go on; it has its items when it may."""
    queue = RoundRobin(weight=equal)
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    assert queue.pop(lambda name: name != "a") == ("b", "b1")
    assert queue.pop(lambda name: name != "a") is None
    assert queue.pop() == ("a", "a1")


@pytest.mark.parametrize("waiting", [10, 10_000])
def test_the_cost_of_a_turn_does_not_grow_with_what_waits(waiting):
    """One turn asks one namespace, whatever the others have waiting."""
    asked = []
    queue = RoundRobin(weight=equal)
    for number in range(waiting):
        queue.put(f"n{number}", number)
    assert queue.pop(lambda name: not asked.append(name)) == ("n0", 0)
    assert asked == ["n0"]


@given(
    total=st.integers(1, 64),
    each=st.integers(1, 64),
    weights=WEIGHTS,
    steps=st.lists(st.tuples(st.sampled_from(NAMESPACES), st.booleans()), max_size=300),
)
def test_only_the_first_slot_of_a_namespace_may_be_the_last_free_one(total, each, weights, steps):
    """Whatever its weight, a namespace that holds slots leaves one for a namespace that holds none."""
    shares = Shares(total=total, each=each, weight=weights.__getitem__)
    for name, more in steps:
        first = not shares.held(name)
        if more and shares.may_acquire(name):
            shares.acquire(name)
            assert shares.free >= (0 if first else 1)
        elif not more and shares.held(name):
            shares.give_back(name)
        held = {name: shares.held(name) for name in NAMESPACES}
        assert shares.free == total - sum(held.values()) >= 0
        assert all(held[name] <= max(weights[name] * each, 1) for name in NAMESPACES)


@given(total=st.integers(2, 200), namespaces=st.integers(1, 20))
def test_namespaces_of_equal_weight_leave_a_share_of_the_slots_free(total, namespaces):
    """So many greedy ones leave at least the share that one more would have, rounded down."""
    shares = Shares(total=total, each=total, weight=equal)
    for _ in range(total):
        for name in map(str, range(namespaces)):
            if shares.may_acquire(name):
                shares.acquire(name)
    assert shares.free >= total // (namespaces + 1)


@given(weights=WEIGHTS, held=st.dictionaries(st.sampled_from(NAMESPACES), st.integers(0, 30)), free=st.integers(1, 20))
def test_free_slots_go_to_the_namespaces_that_hold_least_for_their_weight(weights, held, free):
    """Afterwards no namespace holds more than another of its weight could have been given, by more than one slot."""
    waiting = {name: [(name, number) for number in range(free)] for name in NAMESPACES}
    served = [item for item, _ in zip(fair_order(waiting, held, weight=weights.__getitem__), range(free), strict=False)]
    now = {name: held.get(name, 0) + sum(one == name for one, _ in served) for name in NAMESPACES}
    for name in {one for one, _ in served}:
        least = min(now[other] / weights[other] for other in NAMESPACES)
        assert (now[name] - 1) / weights[name] <= least
    assert len(served) == free


def test_a_namespace_that_holds_all_slots_comes_after_one_that_holds_none():
    """Sixteen runs of one tenant do not put its seventeenth before a neighbour's first."""
    waiting = {"attacker": ["old", "older"], "neighbour": ["new"]}
    assert list(fair_order(waiting, {"attacker": 16}, weight=equal)) == ["new", "old", "older"]


@given(
    limit=st.integers(1, 30),
    steps=st.lists(st.tuples(st.sampled_from(NAMESPACES), st.integers(0, 60), st.booleans()), max_size=300),
)
def test_what_is_kept_within_a_share_is_dropped_for_no_other(limit, steps):
    """A value leaves only for one of its own namespace, or when its namespace had more than its share of the limit."""
    cache, of = FairCache(limit=limit), {}
    for name, number, keep in steps:
        before = {each: [key for key in of if of[key] == each] for each in NAMESPACES}
        if not keep:
            assert (cache.pop((name, number)) is None) == ((name, number) not in of)
            of.pop((name, number), None)
            continue
        cache.put(name, (name, number), number)
        of[name, number] = name
        kept = set(cache)
        for lost in set(of) - kept:
            holding = sum(1 for each in before.values() if each)
            assert of[lost] == name or len(before[of[lost]]) > limit // (holding + 1)
            del of[lost]
        assert len(cache) == len(of) <= limit
        assert cache.get((name, number)) == number


@given(
    limit=st.integers(1, 30),
    rooms=st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMESPACES}),
    steps=st.lists(st.tuples(st.sampled_from(NAMESPACES), st.integers(0, 80)), max_size=300),
)
def test_what_is_kept_within_a_room_is_dropped_for_no_other(limit, rooms, steps):
    """A namespace keeps as many values as it has room for whatever others bring in; all are bounded by the rooms."""
    cache, of = FairCache(limit=limit, room=rooms.__getitem__), {}
    for name, number in steps:
        before = {each: sum(of[key] == each for key in of) for each in NAMESPACES}
        cache.put(name, (name, number), number)
        of[name, number] = name
        for lost in set(of) - set(cache):
            own = of[lost] == name
            assert before[of[lost]] + own > rooms[of[lost]]
            del of[lost]
        assert (name, number) in of
        assert len(cache) == len(of) <= max(limit, sum(rooms.values())) + len(NAMESPACES)
        within = sum(min(rooms[each], sum(of[key] == each for key in of)) for each in NAMESPACES)
        assert len(cache) <= max(limit, within + len(NAMESPACES))


def test_values_that_are_read_in_a_cycle_are_kept_by_a_room_for_them():
    """More values than the limit, each used in turn, are all there each time; without room for them none is."""
    with_room, without = FairCache(limit=8, room=lambda _: 20), FairCache(limit=8)
    for cache in (with_room, without):
        for number in range(20):
            cache.put("a", number, number)
    assert [with_room.get(number) for number in range(20)] == list(range(20))
    assert [number for number in range(20) if without.get(number) is not None] == list(range(12, 20))


@given(steps=STEPS, weights=WEIGHTS)
def test_the_turns_before_an_item_are_no_more_than_foretold(steps, weights):
    """`ahead` is a bound while no other namespace's item comes later than the one asked about."""
    queue = RoundRobin(weight=weights.__getitem__)
    for step in steps:
        if step is not None:
            queue.put(step, "old")
        else:
            queue.pop()
    ahead = queue.ahead("a")
    queue.put("a", "new")
    taken = [queue.pop()[1] for _ in range(len(queue))]
    assert taken.index("new") <= ahead


def test_an_item_that_is_discarded_is_not_taken():
    """The others keep their turns."""
    queue = RoundRobin(weight=equal)
    for item in ("a1", "a2", "b1", "c1"):
        queue.put(item[0], item)
    queue.discard("b", "b1")
    queue.discard("a", "a1")
    queue.discard("a", "never")
    assert [queue.pop()[1] for _ in range(len(queue))] == ["a2", "c1"]
    assert queue.pop() is None


def test_the_examples_in_the_docstrings_are_true():
    """Each doctest of the module gives what it says."""
    assert doctest.testmod(fairness).attempted > 0
    assert not doctest.testmod(fairness).failed
