"""v0.4's own parsers of cron expressions and intervals: a small program, built once where cargo is."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.git import Unavailable

SOURCES = Path(__file__).parent / "legacy_build"
_ANSWER_S = 120


def build():
    """The program, from the cache folder or built into it; its name has a digest of its sources."""
    files = sorted(path for path in SOURCES.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner"
    binary = cache / f"legacy-{digest}"
    if binary.exists():
        return binary
    cargo = shutil.which("cargo")
    if cargo is None:
        raise Unavailable("no cargo to build v0.4's parsers of schedules with")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "legacy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.exists():
            return binary
        folder = cache / f"legacy-{digest}.build"
        folder.mkdir(exist_ok=True)
        for path in files:
            shutil.copy(path, folder)
        done = subprocess.run(
            [cargo, "build", "--release", "--quiet"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"v0.4's parsers of schedules could not be built: {done.stderr.strip()[-500:]}")
        (folder / "target" / "release" / "legacy").rename(binary)
        shutil.rmtree(folder)
    return binary


def asked(binary, requests):
    """The answers to requests, each a list of words: None where it refuses, "panic" where it ends, else words."""
    text = "".join("\t".join(map(str, words)) + "\n" for words in requests)
    done = subprocess.run([binary], input=text, capture_output=True, text=True, check=True, timeout=_ANSWER_S)
    known = {"no": None, "panic": "panic"}
    return [known.get(line, line.split("\t")[1:]) for line in done.stdout.splitlines()]
