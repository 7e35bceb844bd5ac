"""Which problems of a trigger are reported, and what is recorded of that."""

from datetime import timedelta

import pytest

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.notifications.problem import notified_after, notified_of, problem_due
from tests.rules.notifications.samples import START

TRIGGER = Ref("WebhookTrigger", "team", "build")
MINUTE = timedelta(minutes=1)


class Receiver:
    """What a receiver gets while a trigger's condition changes, with what is recorded in the status."""

    def __init__(self, created_at=START - MINUTE):
        self.status, self.got, self.generation, self.created_at = {}, [], 1, created_at

    def ready(self, at, value, reason="Unreachable"):
        """The condition Ready changes."""
        [old] = self.status.get("conditions", [{}])
        since = old.get("lastTransitionTime") if old.get("status") == value else rfc3339(at)
        condition = {"type": "Ready", "status": value, "reason": reason, "message": "m", "lastTransitionTime": since}
        self.status["conditions"] = [condition]

    def due(self, at):
        return problem_due(
            TRIGGER, "u1", self.status, "n1", generation=self.generation, created_at=self.created_at, now=at
        )

    def passes(self, at, *, refused=False):
        """A pass: the message that is due is sent and recorded."""
        report = self.due(at)
        if report is not None:
            self.got.append((report.state, report.reason, (at - START) // MINUTE))
            self.status["notified"] = notified_after(
                self.status, report, "n1", notifiers=["n1"], refused=self.generation if refused else None, now=at
            )

    def watch(self, minutes):
        """A pass every half minute."""
        for half in range(2 * minutes[0], 2 * minutes[1]):
            self.passes(START + half * MINUTE / 2)


def test_a_problem_is_reported_once_and_its_end_once():
    """However long it lasts, and however often it is checked."""
    receiver = Receiver()
    receiver.ready(START, "False")
    receiver.watch((0, 300))
    receiver.ready(START + 300 * MINUTE, "True", "Succeeded")
    receiver.watch((300, 600))
    assert receiver.got == [("Problem", "Unreachable", 1), ("ProblemSolved", "Unreachable", 300)]


def test_a_problem_that_ends_within_a_minute_is_not_reported():
    """Nor its end."""
    receiver = Receiver()
    receiver.ready(START, "False")
    receiver.passes(START + 0.9 * MINUTE)
    receiver.ready(START + 0.95 * MINUTE, "True", "Succeeded")
    receiver.watch((1, 10))
    assert receiver.got == []


def test_the_same_problem_is_reported_once_an_hour_at_most():
    """A source that fails for five minutes of every ten."""
    receiver = Receiver()
    for start in range(0, 130, 10):
        receiver.ready(START + start * MINUTE, "False")
        receiver.watch((start, start + 5))
        receiver.ready(START + (start + 5) * MINUTE, "True", "Succeeded")
        receiver.watch((start + 5, start + 10))
    problems = [at for state, _, at in receiver.got if state == "Problem"]
    assert problems == [1, 61, 121]
    assert len(receiver.got) == 6
    assert [state for state, *_ in receiver.got] == ["Problem", "ProblemSolved"] * 3


def test_another_reason_is_another_problem():
    """It is reported when it comes, and the first one not again within an hour."""
    receiver = Receiver()
    receiver.ready(START, "False")
    receiver.watch((0, 10))
    for start, reason in ((10, "SecretMissing"), (20, "Unreachable"), (30, "SecretMissing")):
        receiver.ready(START + start * MINUTE, "False", reason)
        receiver.watch((start, start + 10))
    receiver.ready(START + 40 * MINUTE, "True", "Succeeded")
    receiver.watch((40, 50))
    assert receiver.got == [
        ("Problem", "Unreachable", 1),
        ("Problem", "SecretMissing", 10),
        ("ProblemSolved", "SecretMissing", 40),
    ]


def test_a_refused_message_is_sent_again_when_the_notifier_changes():
    """Not before."""
    receiver = Receiver()
    receiver.ready(START, "False")
    receiver.passes(START + MINUTE, refused=True)
    receiver.watch((2, 200))
    assert len(receiver.got) == 1
    receiver.generation = 2
    receiver.watch((200, 300))
    assert receiver.got[1:] == [("Problem", "Unreachable", 200)]


def test_a_new_notifier_does_not_report_the_problems_before_it():
    """No flood when it is created; the next problem is reported."""
    receiver = Receiver(created_at=START + MINUTE)
    receiver.ready(START, "False")
    receiver.watch((0, 100))
    receiver.ready(START + 100 * MINUTE, "True", "Succeeded")
    receiver.ready(START + 101 * MINUTE, "False")
    receiver.watch((101, 110))
    assert receiver.got == [("Problem", "Unreachable", 102)]


def test_what_is_not_recorded_yet_is_sent_once_more_at_most():
    """A crash between the answer and the write of the record."""
    receiver = Receiver()
    receiver.ready(START, "False")
    first = receiver.due(START + MINUTE)
    again = receiver.due(START + 2 * MINUTE)
    assert first.identity == again.identity


def test_entries_that_nothing_needs_are_left_out():
    """Of deleted Notifiers, and solved ones after an hour; those of others stay."""
    receiver = Receiver()
    receiver.ready(START, "False")
    receiver.status["notified"] = [
        {"notifier": "gone", "reason": "A", "at": rfc3339(START), "open": True},
        {"notifier": "n1", "reason": "B", "at": rfc3339(START - 100 * MINUTE), "open": False},
        {"notifier": "n2", "reason": "C", "at": rfc3339(START - 100 * MINUTE), "open": True},
        {"notifier": 7},
        "nonsense",
    ]
    report = receiver.due(START + MINUTE)
    after = notified_after(receiver.status, report, "n1", notifiers=["n1", "n2"], refused=None, now=START + MINUTE)
    assert [(one["notifier"], one["reason"], one["open"]) for one in after] == [
        ("n2", "C", True),
        ("n1", "Unreachable", True),
    ]


@pytest.mark.parametrize(
    "status", [None, {}, {"conditions": []}, {"conditions": [{"type": "Ready", "status": "False"}]}]
)
def test_without_a_condition_nothing_is_reported(status):
    """Nor with one that has no time."""
    assert problem_due(TRIGGER, "u1", status, "n1", generation=1, created_at=None, now=START) is None
    assert notified_of(status) == []


def test_a_message_has_the_meaning_and_the_sources_and_no_text_of_others():
    """The condition's message may name branches: it is not sent."""
    receiver = Receiver()
    receiver.ready(START, "False")
    receiver.status["conditions"][0]["message"] = "source app: branch canary does not exist"
    problem = {"reason": "Unreachable", "message": "canary", "since": rfc3339(START)}
    names = [f"s{number}@heads/canary" for number in range(5)]
    receiver.status["checkedSources"] = {name: {"problem": problem} for name in names}
    report = receiver.due(START + MINUTE)
    assert report.message.startswith("s0, s1, s2 and 2 more: ")
    assert "canary" not in repr(report)
