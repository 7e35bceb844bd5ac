"""Fixes that can be taken out of the product, in the process of a replica alone: does the oracle find that?"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """What is taken out, and the scenarios that are to find it."""

    what: str
    take_out: Callable
    found_by: tuple


MUTANTS: dict = {}


def mutant(name, what, *found_by):
    """Register a function that takes a fix out."""

    def register(function):
        MUTANTS[name] = Mutant(what=what, take_out=function, found_by=found_by)
        return function

    return register


@mutant("own-clock", "each replica uses its own clock", "clock of the leader a day off")
def own_clock():
    from git_events_runner.edges.kube.clock import ServerClock

    ServerClock.wrong = property(lambda _: False)
