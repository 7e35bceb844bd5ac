"""CloudEvents in HTTP binary mode, read by the SDK."""

import json

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat

from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.cloudevents import cloudevents_request
from git_events_runner.rules.notifications.problem import ProblemReport
from git_events_runner.rules.notifications.webhook import message_id, payload_of
from tests.rules.notifications.samples import START, run


def event(report, token=None):
    payload = payload_of(report, "https://ci.example/{run}", START)
    identity = message_id("uid-1", report)
    return cloudevents_request("https://broker.example/", payload, identity=identity, token=token, now=START)


def read(request):
    return from_binary_event(HTTPMessage(headers=dict(request.headers), body=request.body), JSONFormat())


def test_the_sdk_reads_an_event():
    """Every attribute, and the data, which is that of a webhook."""
    report = run("Failed", why="container worker ended with exit code 3")
    found = read(event(report))
    assert found.get_specversion() == "1.0"
    assert found.get_id() == message_id("uid-1", report)
    assert found.get_source() == "/namespaces/team/webhooktriggers/build"
    assert found.get_type() == "rs.git-events-runner.run.failed"
    assert found.get_subject() == "app"
    assert found.get_time() == START
    assert found.get_datacontenttype() == "application/json"
    assert found.get_data() == payload_of(report, "https://ci.example/{run}", START)["data"]


@pytest.mark.parametrize("source", ["größe", 'a"b', "50%", "🚀", "a b"])
def test_a_name_beyond_ascii_is_read_back(source):
    """Header values are percent-encoded as the binding requires, and are ASCII."""
    request = event(run(source=f"{source}@heads/main"))
    assert request.headers["ce-subject"].isascii()
    assert read(request).get_subject() == source


def test_a_problem_is_an_event_of_the_trigger():
    """With the trigger as the subject."""
    report = ProblemReport(
        state="ProblemSolved",
        trigger=Ref("ScheduleTrigger", "team", "nightly"),
        trigger_uid="u",
        reason="Unreachable",
        message="",
        since=START,
    )
    found = read(event(report))
    assert found.get_type() == "rs.git-events-runner.trigger.problem-solved"
    assert found.get_source() == "/namespaces/team/scheduletriggers/nightly"
    assert found.get_subject() == "nightly"
    assert json.dumps(found.get_data(), sort_keys=True).count("Unreachable") == 1


def test_a_token_is_sent_as_bearer():
    """And none where there is none."""
    assert event(run(), b"token-1\n").headers["Authorization"] == "Bearer token-1"
    assert "Authorization" not in event(run()).headers


@pytest.mark.parametrize("token", [b"", b"Bearer canary", b"can\x00ary"])
def test_a_token_that_cannot_be_sent_is_an_error_without_its_value(token):
    """Empty, with its scheme, with control characters."""
    with pytest.raises(SecretUnusable) as error:
        event(run(), token)
    assert "canary" not in str(error.value)
