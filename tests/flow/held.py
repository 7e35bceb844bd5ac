"""What the program holds: objects of its classes, and entries of their containers."""

import gc
from collections import Counter, deque

_CONTAINERS = (dict, set, frozenset, list, deque)
_OURS = "git_events_runner"


def held():
    """How many objects there are of each class of the program, and how many entries each attribute of a class has."""
    gc.collect()
    found = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if getattr(kind, "__module__", None) is None or not str(kind.__module__).startswith(_OURS):
            continue
        name = f"{kind.__module__.removeprefix(_OURS)[1:]}.{kind.__qualname__}"
        found[name] += 1
        if isinstance(one, _CONTAINERS):
            found[f"{name}: entries"] += len(one)
        for attribute, value in _attributes(one):
            if isinstance(value, _CONTAINERS):
                found[f"{name}.{attribute}"] += _entries(value)
    return found


def _attributes(one):
    yield from getattr(one, "__dict__", {}).items()
    for kind in type(one).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(one, name):
                yield name, getattr(one, name)


def _entries(value):
    """Also those of containers in it."""
    values = value.values() if isinstance(value, dict) else value
    return len(value) + sum(len(inner) for inner in values if isinstance(inner, _CONTAINERS))


def grown(before, after, *, by=0):
    """What has more objects or entries than before."""
    return {name: (before[name], number) for name, number in after.items() if number > before[name] + by}
