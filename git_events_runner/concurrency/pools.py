"""Threads for work that would hold up the event loop: one small named pool for each purpose, no shared executor.

Three rules hold for each pool. Its threads are daemons, so that a busy one never keeps a stopping process. Work waits
by owner (a namespace), and owners take turns, so that one of them cannot fill the pool's queue. Threads start with the
first work and end when idle, so that a pool costs nothing until it is used and needs no close.

What a pool is given must be bounded by itself: a thread cannot be cancelled, and the caller who gives up leaves it
running to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
_IDLE_S = 10.0


@dataclass(slots=True, eq=False)
class _Work:
    """One call, and the future that waits for it."""

    call: Callable[[], Any]
    context: Context
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Pool:
    """At most `threads` threads named after their purpose; `own` of them at most for one owner (default: all)."""

    def __init__(self, name: str, *, threads: int, own: int | None = None, idle_s: float = _IDLE_S) -> None:
        self.name = name
        self._most = threads
        self._own = own or threads
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[_Work]] = OrderedDict()
        self._running: dict[str, int] = {}
        self._threads = self._idle = 0

    async def run(self, call: Callable[..., _T], *args: Any, owner: str = "") -> _T:
        """The result of a call made in one of the threads, with this task's context variables.

        When the caller is cancelled, work that still waits is dropped; work under way runs to its end unseen.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        work = _Work(call=lambda: call(*args), context=copy_context(), future=future, loop=loop)
        with self._changed:
            self._waiting.setdefault(owner, deque()).append(work)
            if sum(map(len, self._waiting.values())) <= self._idle or self._threads >= self._most:
                self._changed.notify()
            else:
                self._start(work, owner)
        return await future

    def _start(self, work: _Work, owner: str) -> None:
        """Start one more thread; if that cannot be (a limit of processes), running threads take the work, if any."""
        try:
            threading.Thread(target=self._serve, name=self.name, daemon=True).start()
        except RuntimeError:
            if self._threads:
                return
            self._waiting[owner].remove(work)
            raise
        self._threads += 1

    def _serve(self) -> None:
        """Work until nothing has come for a while."""
        while (taken := self._next()) is not None:
            owner, work = taken
            try:
                self._do(work)
            finally:
                del work, taken  # an idle thread holds no result
                with self._changed:
                    self._running[owner] -= 1
                    if not self._running[owner]:
                        del self._running[owner]
                    self._changed.notify_all()  # work of this owner may have waited for its turn alone

    def _next(self) -> tuple[str, _Work] | None:
        """The work of the owner whose turn it is; None ends the thread."""
        with self._changed:
            while True:
                if (taken := self._pop_work()) is not None:
                    return taken
                self._idle += 1
                came = self._changed.wait(self._idle_s)
                self._idle -= 1
                if not came and not any(self._waiting.values()):
                    self._threads -= 1
                    return None

    def _pop_work(self) -> tuple[str, _Work] | None:
        for owner, queue in list(self._waiting.items()):
            while queue and queue[0].future.done():
                queue.popleft()
            if not queue:
                del self._waiting[owner]
            elif self._running.get(owner, 0) < self._own:
                self._waiting.move_to_end(owner)
                self._running[owner] = self._running.get(owner, 0) + 1
                return owner, queue.popleft()
        return None

    @staticmethod
    def _do(work: _Work) -> None:
        result: Any = None
        failed: BaseException | None = None
        try:
            result = work.context.run(work.call)
        except BaseException as error:  # noqa: BLE001  the caller gets any error
            failed = error

        def deliver() -> None:
            if work.future.done():
                return  # the caller has given up
            if failed is not None:
                work.future.set_exception(failed)
            else:
                work.future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is stopping
            work.loop.call_soon_threadsafe(deliver)
