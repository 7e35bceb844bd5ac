"""How long does the cloner take to list 100,000 changed files? `python -m benchmarks.changes`: time, memory.

A fresh process each time, which has the pack of the new commit, as after a clone: the pack of the previous commit's
folders is read, both trees are compared, and both lists are written. What git prints has to be the same.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.files import memory_mib
from tests.edges.git.gitserver import GIT_ENVIRONMENT, commit, new_repository

FILES = 100_000


def packed(repository, made, path):
    """A commit with its folders as one pack, as a server gives it without contents of files."""

    def git(*arguments, stdin=None):
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=repository, input=stdin, capture_output=True, check=True, env=GIT_ENVIRONMENT
        )
        return done.stdout

    objects = git("rev-list", "--objects", "--filter=blob:none", "--no-walk", made)
    ids = b"".join(line.split()[0] + b"\n" for line in objects.splitlines())
    path.write_bytes(git("pack-objects", "--stdout", "-q", stdin=ids))


def client(folder, old, new):
    """One comparison; prints its figures as JSON."""
    from git_events_runner.cloner.commits import tree_of
    from git_events_runner.cloner.differences import differences, quoted
    from git_events_runner.cloner.pack import Pack, PackLimits

    with ExitStack() as files:
        before, after = (files.enter_context((Path(folder) / name).open("rb")) for name in ("old", "new"))
        there = Pack(after.fileno(), "sha1", PackLimits())
        rss, began, used = memory_mib("VmRSS"), time.perf_counter(), time.process_time()
        was = Pack(before.fileno(), "sha1", PackLimits())
        trees = tree_of(was, bytes.fromhex(old)), tree_of(there, bytes.fromhex(new))
        lines = files.enter_context((Path(folder) / "lines").open("wb"))
        parts = files.enter_context((Path(folder) / "parts").open("wb"))
        count = 0
        for status, path in differences(was, trees[0], there, trees[1], most=4_000_000):
            lines.write(b"%s\t%s\n" % (status, quoted(path)))
            parts.write(b"%s\0%s\0" % (status, path))
            count += 1
        found = {"ms": 1000 * (time.perf_counter() - began), "cpu_ms": 1000 * (time.process_time() - used)}
        peak = memory_mib("VmHWM")
        print(json.dumps(found | {"files": count, "more_mib": peak - rss, "peak_mib": peak}))


def main():
    """All files changed, and one in a thousand, five times each."""
    for name, step in (("all", 1), ("one in a thousand", 1000)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            repository = new_repository(place / "app.git")
            paths = [f"d{n // 1000:03}/s{n // 100 % 10}/some-file-name-{n:06}.txt" for n in range(FILES)]
            old = commit(repository, dict.fromkeys(paths, b"1"))
            changed = {path: b"2" if number % step == 0 else b"1" for number, path in enumerate(paths)}
            new = commit(repository, changed, parent=old)
            packed(repository, old, place / "old")
            packed(repository, new, place / "new")
            command = ["git", "diff", "--name-status", "--no-renames", old, new]
            printed = subprocess.run(command, cwd=repository, capture_output=True, check=True, env=GIT_ENVIRONMENT)
            for _ in range(5):
                command = [sys.executable, "-m", "benchmarks.changes", folder, old, new]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                assert (place / "lines").read_bytes() == printed.stdout
                found = json.loads(done.stdout)
                print(
                    f"{name}: {found['files']} of {FILES} files, {found['ms']:.0f} ms ({found['cpu_ms']:.0f} ms CPU), "
                    f"{found['more_mib']:.1f} MiB more at the peak, {found['peak_mib']:.0f} MiB in all",
                    flush=True,
                )


if __name__ == "__main__":
    client(*sys.argv[1:]) if len(sys.argv) > 1 else main()
