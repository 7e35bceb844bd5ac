"""`git-events-runner probe`: what `helm test` runs in the controller's own image."""

import argparse
import contextlib
import http.client
import http.server
import threading
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.__main__ import main
from git_events_runner.cli.probe import _url
from tests.cluster.plane import free_port
from tests.patience import timed


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked += 1
        self.server.path = self.path
        self.send_response(503 if self.server.asked <= self.server.failures else 404)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def server():
    """Answers POST with 404, after `failures` answers with 503."""
    serving = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    serving.asked = serving.failures = 0
    serving.url = f"http://127.0.0.1:{serving.server_port}/ns/helm-test"
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join(5)


def test_the_expected_status_is_a_success(server, capsys):
    """At once, and it says so."""
    assert main(["probe", server.url, "--method=POST", "--status=404"]) == 0
    assert "404, as expected" in capsys.readouterr().out


def test_it_asks_again_until_the_answer_comes(server):
    """A controller that is not ready yet answers 503, or not at all."""
    server.failures = 1
    assert main(["probe", server.url, "--method=POST", "--status=404", "--wait=10"]) == 0
    assert server.asked == 2


def test_another_status_fails_and_is_named(server, capsys):
    """When the time is over, with what came instead."""
    assert main(["probe", server.url, "--method=POST", "--status=200"]) == 1
    assert "answered 404, expected 200" in capsys.readouterr().err


def test_no_answer_fails_within_the_time(capsys):
    """A port on which nobody listens."""
    with timed() as watch:
        assert main(["probe", f"http://127.0.0.1:{free_port()}/", "--wait=2"]) == 1
    assert watch.fair_s < 5
    assert "no answer" in capsys.readouterr().err


def test_the_query_is_part_of_the_request(server):
    """What follows the question mark reaches the server."""
    assert main(["probe", f"{server.url}?a=b", "--method=POST", "--status=404"]) == 0
    assert server.path.endswith("/ns/helm-test?a=b")


@given(st.from_regex(r"https?://[a-z0-9.\[\]:ä%@-]{0,12}[/?#]?[a-z ]{0,4}", fullmatch=True))
def test_every_url_is_refused_or_leads_somewhere(url: str):
    """A URL that is not refused as an argument has a host and a usable port, so that only the network can fail."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        parts = urlsplit(_url(url))
        assert parts.hostname
        http.client.HTTPConnection(parts.hostname, parts.port)


def test_a_host_that_dns_cannot_hold(capsys):
    """Is no answer, as every unknown host."""
    assert main(["probe", "http://ä..test/"]) == 1
    assert "no answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://user:secret@x/", "x", "http://h:99999/", "http://[::1/"]
)
def test_what_is_no_url_is_refused(url, capsys):
    """Also one with a credential in it."""
    with pytest.raises(SystemExit) as ended:
        main(["probe", url])
    assert ended.value.code == 2
    assert "URL" in capsys.readouterr().err
