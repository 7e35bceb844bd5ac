"""What a fault is: a function that begins one, lasts about so many seconds, and ends it; a trial ends what is left."""

from collections.abc import Callable
from dataclasses import dataclass

EVER = 10**9


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A fault with a name; `bound_s` is the time after its end within which every promised run is there.

    A delivery that a later one has overtaken waits up to 30 s for the commit that it announced.
    """

    name: str
    inject: Callable
    replicas: tuple = (1, 2)
    span_s: tuple = (3.0, 8.0)
    bound_s: float = 35.0
    run_s: float = 0.3  # how long each Job runs: long ones keep the slots full
    waiting_s: int = 0  # after which a waiting Job is deleted; 0: never in a trial
    may_exit: bool = False  # whether a replica may end by itself
    allowed: tuple = ()  # beginnings of findings that the fault itself explains

    def allows(self, finding):
        """Whether a finding is explained by the fault."""
        return any(part in finding for part in self.allowed)


FOUND: list = []


def scenario(name, **more):
    """Register a function as a fault."""

    def register(function):
        FOUND.append(Scenario(name=name, inject=function, **more))
        return function

    return register
