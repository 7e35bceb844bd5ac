"""Time that passes only when everybody waits: a test of an hour takes a millisecond."""

import asyncio
import functools
import math
import selectors


class _Warp(selectors.DefaultSelector):
    """Instead of waiting, moves the loop's clock."""

    now = 0.0

    def select(self, timeout=None):
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits for something that never comes"
            self.now += max(timeout, 0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on such a clock; for tests without sockets and threads."""

    def __init__(self):
        self._warp = _Warp()
        super().__init__(self._warp)

    def time(self):
        return self._warp.now

    @property
    def _clock_resolution(self):
        """No timer fires before its time: two loops that wait for a moment would else wait for it for ever."""
        return math.ulp(self._warp.now)

    @_clock_resolution.setter
    def _clock_resolution(self, _):
        """The base class sets that of the real clock."""


def virtual(test):
    """Run a coroutine test on a virtual clock; after a day of it the test has failed."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        async def limited():
            async with asyncio.timeout(86400):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(limited())

    return run


async def until(condition, *, within_s=3600.0, every_s=0.05):
    """Return the first true value of `condition()`; fail after so much of the loop's time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not (found := condition()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s"
        await asyncio.sleep(every_s)
    return found


def at():
    """The loop's time."""
    return asyncio.get_running_loop().time()
