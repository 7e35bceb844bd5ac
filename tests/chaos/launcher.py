"""The product in a process whose clock can be set, and out of which a fix can be taken: for trials only.

`CHAOS_CLOCK` is a file with the seconds (a double) by which the wall clock is off; `CHAOS_MUTANT` is one of
`tests.chaos.mutants`. The renewal times that a Lease shows are not off: no replica reads them.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path


def _set_clock(path):
    with Path(path).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)
    real = time.time
    time.time = lambda: real() + struct.unpack("d", shared[:8])[0]


def main():
    """Run the program's own command line."""
    if path := os.environ.get("CHAOS_CLOCK"):
        _set_clock(path)  # before the product is imported: it binds `time.time` as a default
    if name := os.environ.get("CHAOS_MUTANT"):
        from tests.chaos.mutants import MUTANTS

        MUTANTS[name].take_out()
    from git_events_runner.__main__ import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
