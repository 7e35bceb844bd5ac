"""Did these files change between two commits of 20,000 files? `python -m benchmarks.files`: time, memory, bytes.

A fresh process each time: the trees of both commits are fetched and read, patterns applied, the selections compared.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.servers.git import GitServer, Unavailable
from tests.servers.jgit import JGitServer

FILES, FOLDERS = 20_000, 200
PATTERNS = ["d1/**", "**/*.py", "!**/*.md"]


def memory_mib(name):
    """Resident memory: now (VmRSS) or at its peak (VmHWM; getrusage would count the parent's)."""
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024


def client(url, old, new):
    """One comparison; prints its figures as JSON."""
    import uvloop

    from git_events_runner.edges.git import Limits, http_remote
    from git_events_runner.edges.git.request import GitRequest, Reference, Repository
    from git_events_runner.rules.selection import selection
    from git_events_runner.telemetry.metrics import Metrics

    async def main():
        metrics = Metrics(prefix="x")
        remote = http_remote(Limits(), observer=metrics.git)
        source = Repository(url=url)
        await remote.commit_of(GitRequest(source, Reference("branch", "main")))  # the check that found a new commit
        before, began, used = memory_mib("VmRSS"), time.perf_counter(), time.process_time()
        trees = await asyncio.gather(remote.tree(source, new), remote.tree(source, old))
        same = (await asyncio.to_thread(selection, PATTERNS, *trees)).same
        seconds, used_s = time.perf_counter() - began, time.process_time() - used
        peak = memory_mib("VmHWM")
        text = metrics.render().decode()
        received = next(line for line in text.splitlines() if line.startswith("x_git_received_bytes_total"))
        await remote.close()
        found = {"ms": 1000 * seconds, "cpu_ms": 1000 * used_s, "peak_mib": peak - before, "same": same}
        print(json.dumps(found | {"bytes": float(received.rpartition(" ")[2]), "files": len(trees[0])}))

    uvloop.run(main())


def main():
    """Both servers, five times each."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        for name, make in (("nginx", GitServer), ("jgit", JGitServer)):
            (folder / name).mkdir()
            try:
                server = make(folder / name)
            except Unavailable as missing:
                print(f"{name}: {missing}")
                continue
            stack.callback(server.close)
            made = server.repository()
            content = "some text\n" * 100
            old = made.push({f"d{n % FOLDERS}/s{n % 7}/file{n}.txt": f"{n}\n{content}" for n in range(FILES)})
            new = made.push({"d1/s1/new.py": "x\n"})
            made.git("repack", "-adq")
            for _ in range(5):
                command = [sys.executable, "-m", "benchmarks.files", made.url, old, new]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout)
                assert not found["same"]
                print(
                    f"{name}: {found['files']} files, {found['ms']:.0f} ms ({found['cpu_ms']:.0f} ms CPU), "
                    f"{found['peak_mib']:.1f} MiB more at the peak, {found['bytes'] / 2**20:.2f} MiB received",
                    flush=True,
                )


if __name__ == "__main__":
    client(*sys.argv[1:]) if len(sys.argv) > 1 else main()
