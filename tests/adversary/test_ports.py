"""Strangers at the ports of a running replica: items 10 to 14 of the hostile review."""

import contextlib
import http.client
import subprocess
import sys
import time

import pytest

from tests.flow.strangers import KINDS
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret

_UTILITY = {"unread", "scrapes"}


@contextlib.contextmanager
def attacking(kind, port, path):
    """Strangers at a port, begun when entered; see tests/flow/strangers.py."""
    command = [sys.executable, "-m", "tests.flow.strangers", kind, str(port), path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        try:
            stranger.stdout.readline()
            yield
            stranger.communicate("", timeout=60)
        finally:
            stranger.kill()


def post(port, path, delivery=({}, b""), method="POST"):
    """Status and body of one request."""
    headers, body = delivery
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"wrong"}))
def test_a_neighbour_is_served_while_strangers_hold_a_port(estate, kind):
    """Items 10 to 12: trailers, framing and headers without end, bodies that do not come, answers that stay unread."""
    replica = estate.start()
    port, path = replica.utility if kind in _UTILITY else replica.hooks, f"/{estate.good}/hook-0"
    with attacking(kind, port, path), estate.watched(seconds=6):
        pass


def _signed(estate, namespace, name):
    """A trigger of the neighbour that deliveries are signed for."""
    secret(estate.api, namespace, "hook", d.SECRET)
    auth = {"type": "github", "secretRef": {"name": "hook"}, "key": "token"}
    spec = sources(onChangeOnly=False) | {"webhook": {"multiSource": True, "authConfig": auth}}
    estate.api.ours("WebhookTrigger", namespace, name, spec)


def test_wrong_requests_use_up_no_rate(estate):
    """Item 13: after hundreds of wrong signatures the forge's own delivery is accepted; they get 429 themselves."""
    _signed(estate, estate.good, "signed")
    replica = estate.start("--hooks-rrl-trigger", "20/3600", "--hooks-rrl-global", "500/60")
    path = f"/{estate.good}/signed"
    with estate.watched(seconds=4):
        wrong = [post(replica.hooks, path, d.github(secret="wrong"))[0] for _ in range(300)]
        assert set(wrong) == {403, 429}
        assert wrong.count(403) == 20
        assert post(replica.hooks, path, d.github())[0] == 202


def test_one_answer_for_everything_that_is_not_proven(estate):
    """Item 14: with `refusals: uniform` no status, message or time shows which triggers and namespaces exist."""
    _signed(estate, estate.good, "signed")
    estate.configure("trigger: {webhook: {refusals: uniform}}\n")
    replica = estate.start()
    paths = [f"/{estate.good}/signed", f"/{estate.good}/none", f"/{estate.home}-none/signed", f"/{estate.good}"]
    deliveries = [({}, b""), d.github(secret="wrong"), d.gitlab(), d.plain(b"x" * 1000)]
    with estate.watched(seconds=4):
        answers, steps = set(), {}
        for path in paths * 5:
            for delivery in deliveries:
                began = time.monotonic()
                answers.add(post(replica.hooks, path, delivery))
                steps.setdefault(path, []).append(time.monotonic() - began)
        assert len(answers) == 1, answers
        assert next(iter(answers))[0] == 404
        assert min(min(found) for found in steps.values()) > 0.04
        assert {post(replica.hooks, path, ({"X-Event-Key": "diagnostics:ping"}, b"{}"))[0] for path in paths} == {200}
        assert post(replica.hooks, f"/{estate.good}/signed", d.github())[0] == 202
