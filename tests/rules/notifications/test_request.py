"""What answers of receivers mean, as a table."""

import pytest

from git_events_runner.rules.notifications.request import Accepted, Refused, Request, Retry, verdict_of

GITLAB = b'{"message":"Cannot transition status via :run from :running (Reason(s): ...)"}'


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_accepted(status):
    """Every 2xx."""
    assert verdict_of(status) == Accepted()


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422])
def test_what_another_attempt_cannot_change_is_refused_with_what_to_do(status):
    """Redirects too: they are not followed."""
    verdict = verdict_of(status)
    assert isinstance(verdict, Refused)
    assert verdict.message.startswith(f"HTTP status {status}: ")


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(status):
    """After the time that the receiver names, an hour at most."""
    assert verdict_of(status) == Retry(message=f"HTTP status {status}")
    assert verdict_of(status, retry_after_s=5.0) == Retry(message=f"HTTP status {status}", after_s=5.0)
    assert verdict_of(status, retry_after_s=1e9) == Retry(message=f"HTTP status {status}", after_s=3600.0)


def test_githubs_secondary_limit_is_tried_again():
    """403 that names a time is no lack of rights."""
    assert verdict_of(403, retry_after_s=60.0) == Retry(message="HTTP status 403", after_s=60.0)


def test_a_transition_that_gitlab_knows_is_none_is_accepted():
    """Running → running answers 400; any other 400 is refused."""
    assert verdict_of(400, body=GITLAB) == Accepted()
    assert isinstance(verdict_of(400, body=b"{}"), Refused)


def test_a_request_shows_no_header():
    """Headers contain the token."""
    assert "canary" not in repr(Request(url="https://x", body=b"", headers={"Authorization": "Bearer canary"}))
