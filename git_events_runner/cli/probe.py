"""`probe`: send requests to an HTTP server until it responds as expected. `helm test` runs it, in our own image."""

from __future__ import annotations

import argparse
import http.client
import re
import ssl
import sys
import time
from urllib.parse import urlsplit

from .numbers import count, http_status

EXAMPLE = "git-events-runner probe http://127.0.0.1:3000/ready --wait 30"
_PAUSE_S = 1.0
_REQUEST_S = 5.0


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("url", metavar="URL", type=_url, help="http or https")
    parser.add_argument("--method", metavar="METHOD", type=_method, default="GET", help="default: GET")
    parser.add_argument("--status", metavar="CODE", type=http_status, default=200, help="expected; default: 200")
    parser.add_argument("--wait", metavar="SECONDS", type=count, default=1, help="how long to try (default: 1)")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")


def run(arguments: argparse.Namespace) -> int:
    """Send for up to `--wait` seconds: 0 when a response had the status, else 1 and the last result on stderr."""
    url, method, status = arguments.url, arguments.method, arguments.status
    deadline = time.monotonic() + arguments.wait
    while True:
        try:
            found = _status_of(url, method, insecure=arguments.insecure)
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # UnicodeError: a host that DNS cannot hold
            problem = f"no answer: {error or type(error).__name__}"
        else:
            if found == status:
                sys.stdout.write(f"{method} {url}: {found}, as expected\n")
                return 0
            problem = f"answered {found}, expected {status}"
        if time.monotonic() + _PAUSE_S > deadline:
            sys.stderr.write(f"{method} {url}: {problem}\n")
            return 1
        time.sleep(_PAUSE_S)


def _status_of(url: str, method: str, *, insecure: bool) -> int:
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


def _url(text: str) -> str:
    try:
        parts = urlsplit(text) if re.fullmatch(r"https?://[^/?#\s@]+([/?#][!-~]*)?", text) else None
        known = parts is not None and bool(parts.hostname) and parts.port != 0  # the port of a URL is read here
    except ValueError:
        known = False
    if not known:
        raise argparse.ArgumentTypeError(f"must be an http or https URL, found {text!r}")
    return text


def _method(text: str) -> str:
    if not re.fullmatch(r"[!#-'*+.^-z|~0-9A-Z-]{1,32}", text):
        raise argparse.ArgumentTypeError(f"must be an HTTP method, as GET or POST, found {text!r}")
    return text
