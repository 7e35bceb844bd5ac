"""Times are judged by the machine they were measured on."""

import subprocess
import sys
import time

from tests.patience import Stopwatch, timed


def test_a_stopwatch_divides_by_the_slowness():
    """Six seconds on a machine that is three times as slow count as two; faster than idle does not exist."""
    watch = Stopwatch()
    watch.end(3.0)
    assert watch.fair_s == watch.seconds / 3
    watch.end(0.5)
    assert watch.fair_s == watch.seconds


def test_a_busy_machine_is_noticed():
    """With as many busy processes beside it as share one core with it, the same block counts for less."""
    busy = [sys.executable, "-S", "-c", "while True: pass"]
    spinning = [subprocess.Popen(busy) for _ in range(8)]
    try:
        with timed() as watch:
            time.sleep(1.5)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert watch.slowness > 1.3
    assert watch.fair_s < watch.seconds
