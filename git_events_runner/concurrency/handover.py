"""Work handed over by a loop that serves all namespaces: one object's slow or refused request delays no other's.

A key's work never runs twice at the same time; what is put meanwhile makes it run once more. Work that failed is tried
again after a time that doubles, however often it is put. Namespaces take turns, and one alone has at most three
quarters of what runs at a time. All of it ends with `run`: what has not begun then never does. A bug that one object
brings out is logged and counts as a failure of that object's work alone; the loss of leadership ends all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from git_events_runner.concurrency.fairness import RoundRobin, Shares, Weight, equal
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.errors import FenceLost

log = structlog.get_logger(target="handover")

TOGETHER = 64
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0

_K = TypeVar("_K", bound=Hashable)


@dataclass(slots=True)
class _State:
    namespace: str
    running: bool = False
    again: bool = False
    failures: int = 0


class Handover(Generic[_K]):
    """Runs `work` for each key that is put; it returns whether it is done, or has to be tried again later."""

    def __init__(
        self,
        work: Callable[[_K], Awaitable[bool]],
        *,
        weight: Weight = equal,
        together: int = TOGETHER,
        limit_s: float | None = None,
        backoff_s: tuple[float, float] = (_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S),
    ) -> None:
        """`together` is how many keys' work runs at a time; FenceLost that `work` raises ends `run`.

        Work that takes longer than `limit_s` is cancelled, and has failed. `backoff_s` is the time after the first
        failure, and the longest one.
        """
        self._work = work
        self._limit_s = limit_s
        self._backoff_s = backoff_s
        self._states: dict[_K, _State] = {}
        self._waiting: RoundRobin[_K] = RoundRobin(weight=weight)
        self._shares = Shares(total=together, each=together, weight=weight, greed=3)
        self._came = asyncio.Event()

    def __len__(self) -> int:
        """Keys whose work waits, runs or backs off."""
        return len(self._states)

    def __contains__(self, key: object) -> bool:
        """Whether the work of that key waits, runs or backs off."""
        return key in self._states

    def put(self, namespace: str | None, key: _K) -> None:
        """Have the work of a key done, in the turn of its namespace."""
        state = self._states.get(key)
        if state is None:
            self._states[key] = _State(namespace or "")
            self._enqueue(key)
        elif state.running:
            state.again = True

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                while (taken := self._waiting.pop(self._shares.may_acquire)) is None:
                    self._came.clear()
                    await self._came.wait()
                namespace, key = taken
                self._shares.acquire(namespace)
                group.create_task(self._serve(namespace, key))
                await asyncio.sleep(0)  # many that need no request must not hold up the event loop

    def _enqueue(self, key: _K) -> None:
        self._waiting.put(self._states[key].namespace, key)
        self._came.set()

    async def _serve(self, namespace: str, key: _K) -> None:
        state = self._states[key]
        state.running, state.again = True, False
        done = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limit_s):
                    done = await self._work(key)
        except FenceLost:
            raise
        except Exception:  # the border of one object's work: a bug in it must not end the others'
            log.exception("object.crashed", namespace=namespace, name=str(key))
        finally:
            self._shares.give_back(namespace)
            self._came.set()
        state.running = False
        if not done:
            state.failures += 1
            first_s, longest_s = self._backoff_s
            wait_s = delay_s(state.failures, first_s=first_s, longest_s=longest_s)
            asyncio.get_running_loop().call_later(wait_s, self._enqueue, key)
        elif state.again:
            state.failures = 0
            self._enqueue(key)
        else:
            del self._states[key]


@asynccontextmanager
async def working(*handovers: Handover[Any]) -> AsyncIterator[None]:
    """Handovers at work while entered; the first failure of one ends the body, and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(handover.run()) for handover in handovers]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as failed:
        found = list(_each(failed))
        raise next((one for one in found if not isinstance(one, FenceLost)), found[0]) from None


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error
