"""Hostile git servers, G1 to G15: what comes of each, how long it takes, and what it costs in memory.

`python -m benchmarks.hostile [G4 …]` prints a table. Each server and each client is a process of its own. Seconds are
from the question to the outcome; memory is the client's peak above what it held after one ordinary check. Ends with 1
when an outcome is not the expected one, or a bound is passed.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.edges.git.attacks import answering, listed
from tests.edges.git.gitserver import scripted

from .faults import check, faults

# The deadline of a question; and a million files, which is the cap, with the tree of 64 MiB that they come from.
MOST_S, MOST_MIB = 20.0, 288.0
_FORK = multiprocessing.get_context("fork")


def memory_mib(name):
    """Resident memory: now (VmRSS) or at its peak (VmHWM)."""
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024


def begin():
    """Begin the peak of memory anew; what is held now, MiB."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_mib("VmRSS")


def serve(fault, folder, pipe):
    """The server's process: until it is told to end."""

    async def main():
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
        async with fault.serve(folder) as url:
            pipe.send(url)
            await ended.wait()

    asyncio.run(main())


def ask(fault, folder, url, pipe):
    """The client's process: one ordinary check, then the fault."""

    async def main():
        async with scripted(answering(listed(b"refs/heads/main"))) as good:
            assert await check()(good, folder) == "answered"
        before, began = begin(), time.perf_counter()
        found = await fault.ask(url, folder)
        pipe.send((found, time.perf_counter() - began, memory_mib("VmHWM") - before))

    uvloop.run(main())


@contextlib.contextmanager
def volume(folder, options):
    """A small volume at `folder`/target."""
    (folder / "target").mkdir()
    if not options:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder / "target"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder / "target"], check=True)


def measure(fault, folder):
    """Outcome, seconds, MiB."""
    ours, theirs = _FORK.Pipe()
    server = _FORK.Process(target=serve, args=(fault, folder / "served", theirs))
    server.start()
    try:
        url = ours.recv()
        answers, pipe = _FORK.Pipe(duplex=False)
        client = _FORK.Process(target=ask, args=(fault, folder, url, pipe))
        client.start()
        pipe.close()
        try:
            return answers.recv() if answers.poll(2 * MOST_S) else ("HANGS", 2 * MOST_S, 0.0)
        except EOFError:
            return "CRASHES", 0.0, 0.0
        finally:
            client.kill()
            client.join()
    finally:
        server.kill()
        server.join()


def main(wanted):
    """One line each, and the worst of all."""
    wrong, worst_s, worst_mib, began = 0, 0.0, 0.0, time.perf_counter()
    print("| | the server | outcome | seconds | MiB |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, fault in enumerate(faults(root / "keys")):
            if wanted and fault.line not in wanted:
                continue
            folder = root / str(number)
            (folder / "served").mkdir(parents=True)
            with volume(folder, fault.mount):
                found, seconds, mib = measure(fault, folder)
            good = found.startswith(fault.expected) and seconds < MOST_S and mib < MOST_MIB
            wrong += not good
            worst_s, worst_mib = max(worst_s, seconds), max(worst_mib, mib)
            mark = "" if good else f" (expected: {fault.expected})"
            print(f"| {fault.line} | {fault.what} | {found}{mark} | {seconds:.2f} | {mib:.1f} |", flush=True)
    took_s = time.perf_counter() - began
    print(f"\nlongest {worst_s:.2f} s, most {worst_mib:.1f} MiB; {wrong} not as expected; {took_s:.0f} s in all")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))
