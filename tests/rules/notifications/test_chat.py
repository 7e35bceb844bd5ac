"""Messages for people, and the addresses that they are sent to."""

from datetime import timedelta

import pytest

from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.chat import addresses_of, chat_message
from git_events_runner.rules.notifications.problem import ProblemReport
from tests.rules.notifications.samples import START, run

KNOWN = {"slack", "discord"}


def test_a_failure_has_what_people_need():
    """Trigger, run, duration, commit, reason and link."""
    report = run("Failed", why="container worker ended with exit code 3", attempt="2/3")
    message = chat_message(report, "https://ci.example/{namespace}/{run}")
    assert message.title == "team/build: run 7 failed after 1 min 1 s"
    assert message.body.splitlines() == [
        "source app, commit 0123456789ab, attempt 2/3",
        "container worker ended with exit code 3",
        "https://ci.example/team/7",
    ]
    assert message.level == "failure"


@pytest.mark.parametrize(
    ("state", "title", "level"),
    [
        ("Queued", "team/build: run 7 queued", "info"),
        ("Started", "team/build: run 7 running", "info"),
        ("Succeeded", "team/build: run 7 succeeded in 1 min 1 s", "success"),
        ("Recovered", "team/build: run 7 succeeded in 1 min 1 s, after a failure", "success"),
        ("Cancelled", "team/build: run 7 cancelled", "warning"),
    ],
)
def test_each_state_has_its_words(state, title, level):
    """In the title, with its level."""
    ended_at = START + timedelta(seconds=61) if state == "Recovered" else None
    message = chat_message(run(state, **({"ended_at": ended_at} if ended_at else {})), None)
    assert (message.title, message.level) == (title, level)


@pytest.mark.parametrize(("state", "title"), [("Problem", "team/build: Unreachable"), ("ProblemSolved", "is solved")])
def test_a_problem_has_reason_and_message(state, title):
    """What the condition has, as plain text."""
    report = ProblemReport(
        state=state,
        trigger=Ref("WebhookTrigger", "team", "build"),
        trigger_uid="u",
        reason="Unreachable",
        message="source <app>: no answer\nsource b: too",
        since=START,
    )
    message = chat_message(report, None)
    assert title in message.title
    assert message.body == (
        "source ‹app›: no answer source b: too" if state == "Problem" else "The trigger is ready again."
    )


def test_what_others_chose_is_plain():
    """A reason with mentions and markup; the branch is not named at all."""
    message = chat_message(run("Failed", source="app@heads/canary", why="<!channel> **@everyone**"), None)
    assert "canary" not in message.body
    assert "<" not in message.body
    assert "*" not in message.body
    assert "@everyone" not in message.body


def test_a_secret_has_one_address_a_line():
    """Empty lines and comments are left out."""
    assert addresses_of(b"# ops\nslack://a/b/c\n\n discord://x/y \n", KNOWN) == ["slack://a/b/c", "discord://x/y"]


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (b"", "no address"),
        (b"# only\n", "no address"),
        (b"token-canary", "no address; write it"),
        (b"https://hooks.example/canary", "use type webhook"),
        (b"https://hooks.example/canary", "write the address as docs/chat.md has it"),
        (b"syslog://canary", "syslog:// is not served; docs/chat.md lists"),
        (b"slack://a\nmailto://canary", "address 2: mailto:// is not served"),
        (b"slack://" + b"canary" * 1000, "more than 2,048"),
        (b"slack://canary\n" * 11, "at most 10"),
        (b"\xff\xfe://canary", "no address"),
    ],
)
def test_a_secret_without_a_usable_address_is_an_error_that_does_not_show_it(secret, words):
    """It says which one, and what to write."""
    with pytest.raises(SecretUnusable, match=words) as error:
        addresses_of(secret, KNOWN)
    assert "canary" not in str(error.value)
