"""The command `probe`: ask an HTTP server until it answers as expected. `helm test` runs it, in our own image."""

from __future__ import annotations

import http.client
import ssl
import sys
import time
from urllib.parse import urlsplit

_PAUSE_S = 1.0
_REQUEST_S = 5.0


def probe(url: str, *, method: str, status: int, wait_s: float, insecure: bool) -> int:
    """Ask for up to `wait_s` seconds: 0 when an answer had `status`, else 1 and on standard error what came instead."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            found = _ask(url, method, insecure=insecure)
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # UnicodeError: a host that DNS cannot hold
            said = f"no answer: {error or type(error).__name__}"
        else:
            if found == status:
                sys.stdout.write(f"{method} {url}: {found}, as expected\n")
                return 0
            said = f"answered {found}, expected {status}"
        if time.monotonic() + _PAUSE_S > deadline:
            sys.stderr.write(f"{method} {url}: {said}\n")
            return 1
        time.sleep(_PAUSE_S)


def _ask(url: str, method: str, *, insecure: bool) -> int:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if insecure:  # the name in a cluster is hardly ever the certificate's
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, parts.port, timeout=_REQUEST_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_REQUEST_S)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, headers={"Content-Length": "0"})
        return connection.getresponse().status
    finally:
        connection.close()
