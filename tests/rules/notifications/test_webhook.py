"""Messages to webhooks: what they contain, and that the receiver can verify them."""

import base64
import json

import pytest

from git_events_runner.errors import SecretUnusable
from git_events_runner.rules.notifications.webhook import key_of, webhook_request
from git_events_runner.rules.signatures import Scheme, Signature, verify_signature
from tests.rules.notifications.samples import COMMIT, START, run

SECRET = b"whsec_" + base64.b64encode(b"k" * 24)


def message(state="Failed", *, now=START, **fields):
    given = {"notifier_uid": "uid-1", "secret": SECRET, "target_url": None, "now": now}
    return webhook_request("https://receiver.example/hook", run(state, **fields), **given)


def test_a_message_is_valid_by_standard_webhooks():
    """The program's own verification, which the specification's test vectors check, accepts it."""
    request = message()
    headers = {name.lower(): [value.encode()] for name, value in request.headers.items()}
    scheme = Scheme(type="standard-webhooks", header="")
    assert verify_signature(scheme, headers, request.body, (SECRET,), now_s=START.timestamp()) is Signature.GOOD
    assert verify_signature(scheme, headers, request.body + b" ", (SECRET,), now_s=START.timestamp()) is Signature.WRONG


def test_a_message_contains_the_run_and_nothing_else():
    """The whole of it."""
    body = json.loads(message(why="container worker ended with exit code 3").body)
    assert body == {
        "type": "run.failed",
        "timestamp": "2026-05-06T07:00:00Z",
        "data": {
            "namespace": "team",
            "trigger": {"kind": "WebhookTrigger", "name": "build"},
            "source": "app",
            "run": 7,
            "attempt": "1/1",
            "commit": COMMIT,
            "job": "build-abc",
            "state": "Failed",
            "started": "2026-05-06T07:00:00Z",
            "finished": "2026-05-06T07:01:01Z",
            "why": "container worker ended with exit code 3",
            "seconds": 61.0,
        },
    }


def test_a_message_that_is_sent_again_has_the_same_id():
    """A receiver can drop it; another state has another id."""
    first, again = message(), message(now=START.replace(hour=9))
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.headers["webhook-id"] != message("Succeeded").headers["webhook-id"]


@pytest.mark.parametrize("secret", [b"", b"short", b"whsec_%%%", b"whsec_" + base64.b64encode(b"short")])
def test_a_key_that_is_none_is_an_error_without_its_value(secret):
    """Too short to be safe, or not base64."""
    with pytest.raises(SecretUnusable) as error:
        key_of(secret)
    assert "short" not in str(error.value)
