"""An HTTP server that keeps what it is sent, and answers by script."""

import http.server
import threading
from contextlib import contextmanager


class Receiver:
    """`answers` are statuses, or status and headers, for the next requests; then it answers 204."""

    def __init__(self):
        self.got, self.answers = [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = outer.answers.pop(0) if outer.answers else 204
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                outer.got.append((self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_PUT = do_POST  # noqa: N815  names that the server calls

            def log_message(self, *_):
                """Print nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self):
        """Serve while entered."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
