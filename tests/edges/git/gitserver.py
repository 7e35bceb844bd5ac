"""Real git behind a small HTTP server that counts bytes, and a server that answers as a test tells it to."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.closing import serving

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


def git(*arguments: str, cwd: Path, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, input=stdin, capture_output=True, env=GIT_ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def new_repository(path: Path, *options: str) -> Path:
    path.mkdir(parents=True)
    git("init", "-q", "--bare", "-b", "main", *options, cwd=path)
    git("config", "uploadpack.allowFilter", "true", cwd=path)
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=path)
    return path


def commit(repository: Path, files: dict[str, bytes], *, branch: str = "main", parent: str | None = None) -> str:
    """Commit exactly these files, without a work tree; gives the commit id."""
    stream = [f"commit refs/heads/{branch}\ncommitter a <a@example.org> 1767225600 +0000\ndata 1\nm\n".encode()]
    if parent:
        stream.append(f"from {parent}\n".encode())
    stream.append(b"deleteall\n")
    for name, content in files.items():
        stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(content), content))
    git("fast-import", "--quiet", "--force", cwd=repository, stdin=b"".join(stream))
    return git("rev-parse", f"refs/heads/{branch}", cwd=repository)


def commit_tree(repository: Path, tree: str, *, branch: str = "main", parent: str | None = None) -> str:
    parents = ["-p", parent] if parent else []
    made = git("commit-tree", tree, "-m", "m", *parents, cwd=repository)
    git("update-ref", f"refs/heads/{branch}", made, cwd=repository)
    return made


@dataclass
class Exchange:
    method: str
    path: str
    status: int
    size_bytes: int
    authorization: str | None
    connection: int


class _Counted:
    def __init__(self, file):
        self.file, self.count = file, 0

    def read(self, *size):
        data = self.file.read(*size)
        self.count += len(data)
        return data

    def readline(self, *size):
        data = self.file.readline(*size)
        self.count += len(data)
        return data

    def __getattr__(self, name):
        return getattr(self.file, name)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitServer

    def setup(self):
        super().setup()
        self.rfile = _Counted(self.rfile)

    def log_message(self, *arguments):
        pass

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        # Recorded before the client can have seen the answer.
        size = self.rfile.count + sum(map(len, self._headers_buffer)) + len(b"\r\n") + len(body)
        self.rfile.count = 0
        given = self.headers.get("Authorization")
        self.server.exchanges.append(Exchange(self.command, self.path, status, size, given, self.client_address[1]))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _serve(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.seen.append((dict(self.headers), body))
        server.gate.wait(30)
        path, _, query = self.path.partition("?")
        if (reply := server.replies.get(path)) is not None:
            return self._answer(*reply)
        if server.authorization is not None and self.headers.get("Authorization") != server.authorization:
            return self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"no")
        if server.lfs is not None and (reply := server.lfs(self.command, path, dict(self.headers), body)) is not None:
            return self._answer(*reply)
        v2 = server.v2 and self.headers.get("Git-Protocol") == "version=2"
        if server.strict is not None and v2 and (reply := server.strict(self.command, body)) is not None:
            return self._answer(*reply)
        environment = {
            **GIT_ENVIRONMENT,
            **server.environment,
            "GIT_PROJECT_ROOT": str(server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": (self.headers.get("Git-Protocol") or "") if server.v2 else "",
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        return self._answer(status, headers, content)

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()


class GitServer(ThreadingHTTPServer):
    """`git http-backend` over a folder of repositories; attributes change its behaviour from the next request on."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, root: Path, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.exchanges: list[Exchange] = []
        self.authorization: str | None = None
        self.v2 = True
        self.strict: Callable[[str, bytes], tuple[int, dict[str, str], bytes] | None] | None = None
        self.lfs: Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], bytes] | None] | None = None
        self.environment: dict[str, str] = {}
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.replies: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def url(self, name: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request, client_address):
        """Clients that go away are part of the tests."""

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *arguments):
        self.gate.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A TCP or TLS server that runs the script for each connection; gives the URL of a repository on it."""

    async def serve(reader, writer):
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with serving(serve, ssl=tls) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/x.git"


@dataclass
class Certificates:
    """A private CA and a server certificate for 127.0.0.1."""

    ca_pem: str = field(init=False)
    folder: Path

    def __post_init__(self):
        now = dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test ca")])
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

        def build(subject, public, *extensions, ends=now + dt.timedelta(days=2)):
            builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
            builder = builder.serial_number(x509.random_serial_number())
            builder = builder.not_valid_before(now - dt.timedelta(days=3)).not_valid_after(ends)
            for extension, critical in extensions:
                builder = builder.add_extension(extension, critical=critical)
            return builder.sign(ca_key, hashes.SHA256())

        ca = build(name, ca_key.public_key(), (x509.BasicConstraints(ca=True, path_length=None), True))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = build(subject, key.public_key(), (address, False))
        expired = build(subject, key.public_key(), (address, False), ends=now - dt.timedelta(days=1))
        self.ca_pem = ca.public_bytes(serialization.Encoding.PEM).decode()
        form = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        for file, certificate in (("server.pem", leaf), ("expired.pem", expired)):
            (self.folder / file).write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, file: str = "server.pem") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / file)
        return context
