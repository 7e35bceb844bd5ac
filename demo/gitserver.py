"""A git server that needs git and Python alone: `git http-backend` behind the standard library's HTTP server."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

_HEADERS = {
    "Content-Type": "CONTENT_TYPE",
    "Git-Protocol": "HTTP_GIT_PROTOCOL",
    "Content-Encoding": "HTTP_CONTENT_ENCODING",
}
# Nothing of the user's own configuration; the repository may belong to another user than the one who serves it.
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
    "GIT_CONFIG_VALUE_1": "true",
}
_PUSHES = {
    "GIT_CONFIG_COUNT": "4",
    "GIT_CONFIG_KEY_2": "http.receivepack",
    "GIT_CONFIG_VALUE_2": "true",
    "GIT_CONFIG_KEY_3": "receive.shallowUpdate",  # a shallow clone may be pushed, too
    "GIT_CONFIG_VALUE_3": "true",
}


@dataclass(slots=True)
class Counter:
    """What a server was asked: requests, and bytes of both directions, headers included."""

    requests: int = 0
    size_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, size_bytes: int) -> None:
        """One request more."""
        with self._lock:
            self.requests += 1
            self.size_bytes += size_bytes


class Repository:
    """A bare repository that is served at `url`, and a working copy to push from."""

    def __init__(self, folder: Path, name: str = "app") -> None:
        self.name = name
        self.bare = folder / "served" / f"{name}.git"
        self.work = folder / "work"
        self.url = ""
        self.asked = Counter()
        self._git("init", "-q", "--bare", str(self.bare))
        self._git("--git-dir", str(self.bare), "symbolic-ref", "HEAD", "refs/heads/main")
        self._git("init", "-q", str(self.work))
        self._git("-C", str(self.work), "symbolic-ref", "HEAD", "refs/heads/main")

    def push(self, **files: str) -> str:
        """Commit files (`name_sh` is written as name.sh) and push; the commit."""
        commit = self._commit(files)
        self._git("-C", str(self.work), "push", "-q", str(self.bare), "main")
        return commit

    def propose(self, number: int, **files: str) -> str:
        """Commit files on a branch of their own, and push it as the head of a pull request; the commit."""
        self._git("-C", str(self.work), "checkout", "-q", "-b", f"pull-{number}")
        commit = self._commit(files)
        self._git("-C", str(self.work), "push", "-q", str(self.bare), f"HEAD:refs/pull/{number}/head")
        self._git("-C", str(self.work), "checkout", "-q", "main")
        return commit

    def _commit(self, files: dict[str, str]) -> str:
        for name, text in files.items():
            (self.work / name.replace("_", ".")).write_text(text, encoding="utf-8")
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.test", "-c", "commit.gpgsign=false")
        self._git("-C", str(self.work), "add", "-A")
        self._git("-C", str(self.work), *identity, "commit", "-q", "--allow-empty", "-m", "change")
        return self._git("-C", str(self.work), "rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _GIT
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, env=env).stdout


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The chunks of a body with `Transfer-Encoding: chunked`, as git sends packs of more than a megabyte."""
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass


@contextmanager
def serving(repository: Repository, *, port: int = 0, pushes: bool = False) -> Iterator[Repository]:
    """Serve a repository at `repository.url` on loopback while entered; with `pushes` everyone there may push."""
    served = {**_GIT, **(_PUSHES if pushes else {})}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._run(b"")

        def do_POST(self) -> None:
            chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
            length = int(self.headers.get("Content-Length") or 0)
            self._run(b"".join(_chunks(self.rfile)) if chunked else self.rfile.read(length))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _run(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            env = {
                **served,
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(repository.bare.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_LENGTH": str(len(body)),
            }
            env |= {variable: self.headers[name] for name, variable in _HEADERS.items() if name in self.headers}
            answer = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
            head, _, content = answer.stdout.partition(b"\r\n\r\n")
            lines = [line for line in head.decode().split("\r\n") if ": " in line]
            status = next((line.partition(": ")[2] for line in lines if line.startswith("Status: ")), "200 OK")
            lines = [line for line in lines if not line.startswith("Status: ")]
            lines = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(content)}", "", ""]
            told = "\r\n".join(lines).encode() + content
            asked = len(self.raw_requestline) + len(self.headers.as_bytes()) + len(body)
            repository.asked.count(asked + len(told))
            self.wfile.write(told)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        repository.url = f"http://127.0.0.1:{server.server_port}/{repository.name}.git"
        yield repository
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
