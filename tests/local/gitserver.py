"""A git server that needs git and Python alone: `git http-backend` behind the standard library's HTTP server."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_HEADERS = {
    "Content-Type": "CONTENT_TYPE",
    "Git-Protocol": "HTTP_GIT_PROTOCOL",
    "Content-Encoding": "HTTP_CONTENT_ENCODING",
}


class Repository:
    """A bare repository that is served, and a working copy to push from."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "served" / "app.git"
        self.work = folder / "work"
        self.url = ""
        self._git("init", "-q", "--bare", "-b", "main", str(self.bare))
        self._git("init", "-q", "-b", "main", str(self.work))

    def push(self, **files: str) -> str:
        """Commit files (`name_sh` is written as name.sh) and push; the commit."""
        for name, text in files.items():
            (self.work / name.replace("_", ".")).write_text(text)
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.test")
        self._git("-C", str(self.work), "add", "-A")
        self._git("-C", str(self.work), *identity, "commit", "-q", "--allow-empty", "-m", "change")
        self._git("-C", str(self.work), "push", "-q", str(self.bare), "main")
        return self._git("-C", str(self.work), "rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, env=env).stdout


@contextmanager
def serving(repository: Repository) -> Iterator[Repository]:
    """Serve a repository at `repository.url` while entered."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._run(b"")

        def do_POST(self) -> None:
            self._run(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _run(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            env = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(repository.bare.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_LENGTH": str(len(body)),
                # the repository may belong to another user than the one who runs the tests
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
                "GIT_CONFIG_VALUE_1": "true",
            }
            env |= {variable: self.headers[name] for name, variable in _HEADERS.items() if name in self.headers}
            answer = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
            head, _, content = answer.stdout.partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
            status = next((value for name, value in lines if name == "Status"), "200 OK")
            self.send_response(int(status[:3]))
            for name, value in lines:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        repository.url = f"http://127.0.0.1:{server.server_port}/app.git"
        yield repository
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
