"""A git server of canned answers, whose paths and tokens decide how it treats who asks; in a thread of the test."""

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HEAD = "4234412468e29c7eeba9ea3c25de8de69e34d098"


def _packets(*lines):
    return b"".join(b"%04x%s" % (len(line) + 4, line) if line else b"0000" for line in lines)


_CAPABILITIES = _packets(
    b"# service=git-upload-pack\n", b"", b"version 2\n", b"ls-refs\n", b"object-format=sha1\n", b""
)
_REFERENCES = _packets(f"{_HEAD} refs/heads/main\n".encode(), b"")


class Forge:
    """Under /slow/ every reference is answered rightly after 15 s; a token gets 429 while it is in `limited`."""

    def __init__(self, url):
        self.url = url
        self.limited, self.asked = set(), []

    def answer(self, path, token):
        """Status, headers and body of a request."""
        self.asked.append((path, token))
        if token in self.limited:
            return 429, {"Retry-After": "3600"}, b""
        if path.startswith("/slow/") and "/info/refs" not in path:
            time.sleep(15)
        kind, body = ("advertisement", _CAPABILITIES) if "/info/refs" in path else ("result", _REFERENCES)
        return 200, {"Content-Type": f"application/x-git-upload-pack-{kind}"}, body


@contextlib.contextmanager
def serving():
    """A Forge that is asked by HTTP while entered."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._reply()

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._reply()

        def _reply(self):
            status, headers, body = forge.answer(self.path, self.headers.get("Authorization"))
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_):
            """Keep the test's output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        forge = Forge(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
