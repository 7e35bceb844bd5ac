"""Clients of git servers compared in one run: `python -m benchmarks.git`. Exchanges a second, CPU of each, bytes.

Ours (16 at once and one at a time), aiohttp alone, dulwich, `git ls-remote`, go-git v5; against a canned server, JGit
and git http-backend behind nginx; 10, 1,000 and 50,000 references; HTTP and HTTPS; 0 and 50 ms of server delay.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster.certificates import Authority
from tests.cluster.plane import Process, free_port, wait_until
from tests.servers.git import GitServer, Unavailable
from tests.servers.jgit import JGitServer

SIZES = (10, 1000, 50_000)
GOGIT = Path(__file__).parent / "gogit"


def build_gogit():
    """The Go program, from the cache or built into it; None without Go."""
    go = shutil.which("go")
    if go is None:
        return None
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(GOGIT.iterdir()))).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner"
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / f"gogit-{digest}"
    if not binary.exists():
        subprocess.run([go, "build", "-o", binary, "."], cwd=GOGIT, check=True)
    return binary


class Canned:
    """The server of benchmarks/canned.py."""

    def __init__(self, folder):
        self.authority = Authority(folder / "pki")
        self.port, self.tls_port = free_port(), free_port()
        self.url, self.tls_url = f"http://127.0.0.1:{self.port}", f"https://127.0.0.1:{self.tls_port}"
        arguments = [self.port, self.tls_port, *self.authority.issue("canned")]
        self._process = Process([sys.executable, "-m", "benchmarks.canned", *map(str, arguments)], folder / "log")
        wait_until("the canned server is ready", lambda: "ready" in self._process.text())

    def close(self):
        """Stop it."""
        self._process.kill()


def with_references(server, size):
    """A repository of so many references; its path."""
    made = server.repository()
    head = made.push({"README": "one\n"})
    lines = "".join(f"create refs/heads/topic/branch-{n} {head}\n" for n in range(size - 1))
    made.git("update-ref", "--stdin", stdin=lines)
    made.git("pack-refs", "--all")
    return f"{made.name}.git"


def measure(client, url, count, at_once, ca, gogit):
    """One figure, as text."""
    command = [gogit, url, count, ca] if client == "go-git" else None
    command = command or [sys.executable, "-m", "benchmarks.clients", client, url, count, at_once, ca]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1][:60]}"
    found = json.loads(done.stdout)
    return f"{count / found['seconds']:6.0f}/s {1000 * found['cpu_s'] / count:7.2f} ms"


def row(name, url, ca, gogit, *, size, slow, weak):
    """All clients against one repository; fewer exchanges where one takes long (`weak`: a process for each)."""
    many = 160 if weak else 480 if slow else 2400
    plan = [("ours", many, 16), ("ours", 40 if slow or weak else 400, 1), ("bare", many, 16)]
    plan += [("dulwich", 20 if slow else 60, 1), ("git", 4 if slow or size > 1000 else 10, 1)]
    plan += [("go-git", 4 if slow else 8 if size > 1000 else 60, 1)] if gogit else []
    figures = [f"{client} ×{at_once}: {measure(client, url, n, at_once, ca, gogit)}" for client, n, at_once in plan]
    print(f"{name:34s} " + " | ".join(figures), flush=True)


def places(server, name, repository, *, delays):
    """Each way to one repository of a server: label, URL, whether it is slow."""
    for scheme, base in (("HTTP", server.url), ("HTTPS", server.tls_url)):
        for slow in (False, True) if delays else (False,):
            label = f"{name} {scheme}{' +50 ms' if slow else ''}"
            yield label, f"{base}{'/slow' if slow else ''}/{repository}", slow


def sizes_in_bytes(server):
    """Bytes of one of our checks, both ways with headers, as nginx counts them."""
    for size in SIZES:
        repository = with_references(server, size)
        before = len(server.requests())
        measure("ours", f"{server.url}/{repository}", 10, 1, server.authority.path, None)
        last = server.requests()[before:][-1]
        print(f"bytes of a check, {size:6d} references  {last.sent + last.received}", flush=True)


def main():
    """Everything, or the servers named."""
    wanted = sys.argv[1:] or ["canned", "jgit", "nginx"]
    gogit = build_gogit()
    makers = {"canned": Canned, "jgit": JGitServer, "nginx": GitServer}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        for name in wanted:
            (folder / name).mkdir()
            try:
                server = makers[name](folder / name)
            except Unavailable as missing:
                print(f"{name}: {missing}")
                continue
            stack.callback(server.close)
            for size in SIZES:
                repository = f"refs-{size}/app.git" if name == "canned" else with_references(server, size)
                for label, url, slow in places(server, f"{name}, {size} refs", repository, delays=name != "nginx"):
                    row(label, url, server.authority.path, gogit, size=size, slow=slow, weak=name == "nginx")
            if name == "nginx":
                sizes_in_bytes(server)


if __name__ == "__main__":
    main()
