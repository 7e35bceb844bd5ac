"""How long the steps of an event loop take: the CPU time of each callback, by the task that it goes on with."""

import asyncio
import gc
import time
from contextlib import contextmanager

from tests.flow.virtual import VirtualLoop


class MeasuredLoop(VirtualLoop):
    """A virtual loop that keeps the longest step; CPU time, so that a busy machine changes nothing.

    The time of the garbage collector is taken off: it depends on what other tests have left.
    """

    def __init__(self):
        super().__init__()
        self.longest = {}
        self._collected_s, self._began_s = 0.0, 0.0

    def call_soon(self, callback, *args, context=None):
        return super().call_soon(self._measured, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when, self._measured, callback, *args, context=context)

    def _measured(self, callback, *args):
        name, began_s, collected_s = _name(callback), time.thread_time(), self._collected_s
        try:
            callback(*args)
        finally:
            used_s = time.thread_time() - began_s - (self._collected_s - collected_s)
            self.longest[name] = max(self.longest.get(name, 0.0), used_s)

    def _collecting(self, phase, _info):
        if phase == "start":
            self._began_s = time.thread_time()
        else:
            self._collected_s += time.thread_time() - self._began_s

    @contextmanager
    def measuring(self):
        """The longest step of each other task while entered, in seconds, by its name."""
        self.longest = {}
        gc.callbacks.append(self._collecting)
        try:
            yield self.longest
        finally:
            gc.callbacks.remove(self._collecting)
            self.longest.pop(asyncio.current_task().get_name(), None)


def _name(callback):
    """The task that a callback goes on with, or the callback itself."""
    task = getattr(callback, "__self__", None)
    return task.get_name() if isinstance(task, asyncio.Task) else getattr(callback, "__qualname__", repr(callback))
