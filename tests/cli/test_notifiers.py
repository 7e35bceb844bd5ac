"""What the verbs report of Notifiers: what was sent of a trigger's last run, what waits, why not, and what is wrong."""

import pytest

from git_events_runner.cli.diagnosis import InstallationFacts, diagnose
from tests.cli.conftest import run
from tests.cli.test_doctor import NOW
from tests.cli.test_explain import GROUP, at, job, status

NOTIFIED = f"{GROUP}/notified"
CHAT = {"type": "chat", "secretRef": {"name": "ops"}}
STATUS = {
    "type": "commit-status",
    "commitStatus": {"forge": "gitea", "apiUrl": "https://git.example.com"},
    "secretRef": {"name": "token"},
}


def over(*kinds, **more):
    """The status of a Job that ended."""
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": at(-3)} for kind in kinds]
    return {"conditions": conditions, "active": 0, **more}


ENDED = over("FailureTarget", "Failed", failed=1)
DONE = over("SuccessCriteriaMet", "Complete", succeeded=1, completionTime=at(-3))


def not_ready(reason, message):
    return {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": message}]}


async def steps(cluster, *, spec=None, mark=None, facts=ENDED, receiver=None, **more):
    """The steps of `explain` about one Notifier."""
    await cluster.world()
    trigger = await cluster.trigger(status=status())
    notifier = await cluster.create("Notifier", "ops", {**(spec or CHAT), **more}, status=receiver)
    uid = notifier["metadata"]["uid"]
    if facts is not None:
        await job(cluster, trigger, 1, annotations={NOTIFIED: f"{uid}={mark}"} if mark else {}, **facts)
    done = await cluster.run("explain", "nightly", "-o", "json")
    return [step["text"] for step in done.json["steps"] if step["topic"] == "notifier"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mark": "Failed"}, "(chat): Failed of Job nightly-"),
        ({"mark": "Failed"}, ": sent"),
        ({"mark": "Recovered", "facts": DONE}, "Recovered of Job nightly-"),
        ({"facts": DONE}, "not sent: a success is sent only if it is the first one after a failure"),
        ({"facts": {}}, "Started of Job nightly-"),
        ({"facts": {}}, "its events are Failed, Recovered, Problem, ProblemSolved"),
        ({"facts": None}, "no Job of a run is there"),
        ({}, "waits: it is not sent yet"),
        ({"receiver": not_ready("DeliveryFailing", "HTTP status 503")}, "waits: DeliveryFailing: HTTP status 503"),
        (
            {"mark": "!Failed@1", "receiver": not_ready("DeliveryRefused", "HTTP status 401")},
            "refused: HTTP status 401",
        ),
        ({"mark": "!Failed@0"}, "waits: it is not sent yet"),
        ({"spec": STATUS, "mark": "Failed"}, "(commit-status): Failed of Job nightly-"),
        (
            {"spec": STATUS | {"commitStatus": {"forge": "github"}}},
            "not sent: https://git.example.com/team/app.git is not at github",
        ),
    ],
)
async def test_explain_shows_what_was_sent_or_why_not(cluster, given, words):
    """One step for the Notifier."""
    [text] = await steps(cluster, **given)
    assert words in text


async def test_explain_shows_no_notifier_that_selects_other_triggers(cluster):
    """Nor without any."""
    assert await steps(cluster, triggers={"selector": {"matchLabels": {"a": "b"}}}) == []


async def test_explain_shows_the_problems_that_a_receiver_knows(cluster):
    """With the time of the message."""
    await cluster.world()
    notifier = await cluster.create("Notifier", "ops", CHAT)
    known = [
        {"notifier": notifier["metadata"]["uid"], "reason": "Unreachable", "at": "2026-05-06T07:00:00Z", "open": True}
    ]
    await cluster.trigger(status=status() | {"notified": known})
    done = await cluster.run("explain", "nightly")
    assert "the problem Unreachable was sent at 2026-05-06T07:00:00Z" in done.out


async def test_explain_shows_a_notifier_of_the_cluster(cluster):
    """By the labels of the namespace."""
    await cluster.world()
    await cluster.trigger(status=status())
    everywhere = {"type": "cloudevents", "address": "https://broker.example/"}
    await cluster.create("ClusterNotifier", "broker", everywhere)
    chosen = {"namespaceSelector": {"matchLabels": {"stage": "none"}}}
    await cluster.create("ClusterNotifier", "other", everywhere | {"triggers": chosen})
    done = await cluster.run("explain", "nightly")
    assert "ClusterNotifier broker (cloudevents)" in done.out
    assert "ClusterNotifier other" not in done.out


def notifier(name, reason=None, message="", value="False"):
    conditions = [{"type": "Ready", "status": value, "reason": reason, "message": message}] if reason else []
    return {"kind": "Notifier", "metadata": {"name": name, "namespace": "team"}, "status": {"conditions": conditions}}


def findings(*notifiers):
    """Level and text of `doctor` about Notifiers."""
    found = diagnose(InstallationFacts(now=NOW, notifiers=notifiers))
    return [(one.level, one.text) for one in found if one.topic == "notifiers"]


def test_doctor_lists_the_notifiers_whose_messages_are_not_accepted():
    """A refusal has to be changed, a failure is tried again."""
    assert findings(
        notifier("a", "DeliveryRefused", "HTTP status 401: renew the token"),
        notifier("b", "DeliveryFailing", "HTTP status 503"),
        notifier("c", "Delivered", value="True"),
    ) == [
        ("problem", "Notifier team/a: DeliveryRefused: HTTP status 401: renew the token"),
        ("warning", "Notifier team/b: DeliveryFailing: HTTP status 503"),
    ]


def test_doctor_has_one_line_where_all_deliver():
    """And none without Notifiers."""
    assert findings() == []
    assert findings(notifier("a", "Delivered", value="True"), notifier("b")) == [
        ("ok", "1 of 2 delivered, the others sent nothing yet")
    ]


MANIFEST = """\
apiVersion: git-events-runner.rs/v1alpha1
kind: Notifier
metadata:
  name: ops
spec:
  type: chat
  secretRef: {name: ops}
---
apiVersion: v1
kind: Secret
metadata:
  name: ops
stringData: {url: "slack://a/b/c"}
"""
WRONG = [
    ("stringData: {url:", "stringData: {address:", "spec.secretRef.name", "has no key url (keys: address)"),
    ("type: chat", "type: chatt", "spec.type", "did you mean chat?"),
    ("type: chat", "type: webhook", None, "address to the types webhook and cloudevents"),
    ("  secretRef: {name: ops}\n", "", None, "secretRef is required"),
    ("  type: chat\n", "  type: chat\n  events: [failed]\n", "spec.events[0]", "did you mean Failed?"),
    ("  type: chat\n", "  type: chat\n  events: [ProblemSolved]\n", None, "list Problem too"),
    ("  type: chat\n", "  type: chat\n  address: https://x.example\n", None, "address to the types"),
    ("  type: chat\n", "  type: chat\n  targetUrl: 'https://x/{job'\n", "spec.targetUrl", "fields in braces"),
    (
        "  type: chat\n",
        "  type: commit-status\n  events: [Recovered]\n  commitStatus: {forge: github}\n",
        None,
        "a commit status has no other events",
    ),
]


@pytest.mark.parametrize(("old", "new", "field", "words"), WRONG)
def test_check_names_what_is_wrong_with_a_notifier(tmp_path, old, new, field, words):
    """File, line, field, and what to do."""
    assert old in MANIFEST
    path = tmp_path / "m.yaml"
    path.write_text(MANIFEST.replace(old, new, 1))
    done = run("check", str(path), "--offline")
    assert done.code == 2
    [line] = [line for line in done.out.splitlines() if words in line]
    assert line.startswith(f"{path}:")
    assert field is None or f": {field}: " in line


def test_check_accepts_a_notifier(tmp_path):
    """With its Secret, and with one that exists elsewhere."""
    path = tmp_path / "m.yaml"
    for text in (MANIFEST, MANIFEST.partition("---")[0]):
        path.write_text(text)
        assert run("check", str(path), "--offline").code == 0
