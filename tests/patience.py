"""Time limits that a loaded machine does not break: measured together with how slow the machine is meanwhile.

Some promises are times ("handed over within three seconds"). On a machine that does other work as well, the same
program takes longer. `timed()` runs a process that does a fixed amount of work again and again, and compares how long
that took with the CPU time it needed: that ratio is the slowness of the machine, and `fair_s` is the time without it.
"""

import contextlib
import subprocess
import sys
import time

_WORK_S = 0.004
_REST_S = 0.03


class Stopwatch:
    """What `timed()` measures; complete after its end, `seconds` at any time."""

    def __init__(self):
        self._started = time.monotonic()
        self._ended = None
        self.slowness = 1.0

    @property
    def seconds(self):
        """Wall clock time since the beginning (until the end)."""
        return (self._ended or time.monotonic()) - self._started

    @property
    def fair_s(self):
        """The time that it would have taken on a machine that does nothing else."""
        return self.seconds / self.slowness

    def end(self, slowness):
        """Stop the clock."""
        self._ended = time.monotonic()
        self.slowness = max(slowness, 1.0)


@contextlib.contextmanager
def timed():
    """Measure the block; assert on `fair_s` after it."""
    with subprocess.Popen(
        [sys.executable, "-S", "-E", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sampler:
        try:
            assert sampler.stdout.readline() == "started\n"
            watch = Stopwatch()
            yield watch
        finally:
            answer, _ = sampler.communicate("stop\n", timeout=30)
    watch.end(float(answer))
    print(f"{watch.seconds:.2f} s, on a machine that is {watch.slowness:.1f} times as slow as when idle")


def _sample():
    """Work and rest until standard input has a line; then print wall clock time by CPU time of the work."""
    import select

    print("started", flush=True)
    wall_s, cpu_s = 0.0, 0.0
    while not select.select([sys.stdin], [], [], _REST_S)[0]:
        began, used = time.monotonic(), time.thread_time()
        while time.thread_time() - used < _WORK_S:
            pass
        cpu_s += time.thread_time() - used
        wall_s += time.monotonic() - began
    print(wall_s / cpu_s if cpu_s else 1.0, flush=True)


if __name__ == "__main__":
    _sample()
