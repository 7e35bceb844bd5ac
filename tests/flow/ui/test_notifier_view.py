"""Notifiers on the status page: what was sent of the last run, and which receivers accept nothing."""

import copy
import re

import aiohttp
import pytest

from tests.flow.ui.conftest import served
from tests.flow.ui.samples import Company, G
from tests.flow.ui.test_application import HOSTILE

CHAT = {"type": "chat", "secretRef": {"name": "ops"}, "events": ["Succeeded", "Failed"]}


def not_ready(message="HTTP status 401: renew it", reason="DeliveryRefused"):
    return {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": message}]}


def shop(*, mark=None, spec=None, status=None, phase="Succeeded", **metadata):
    """A trigger with one run, and its Notifier."""
    made = Company()
    made.add("GitRepo", "shop", "app", spec={"repoUri": "https://github.com/acme/app"})
    trigger = made.trigger("shop", "app")
    job = copy.deepcopy(made.run(trigger, 1, ago_s=600, phase=phase))
    made.add("Notifier", "shop", "ops", uid="n-1", spec=spec or CHAT, status=status or {}, **metadata)
    if mark is not None:
        known = job["metadata"]
        notes = known["annotations"] | {f"{G}notified": f"n-1={mark}"}
        made.add(
            "Job",
            "shop",
            known["name"],
            uid=known["uid"],
            labels=known["labels"],
            annotations=notes,
            created=known["creationTimestamp"],
            spec=job["spec"],
            status=job["status"],
        )
    return made


async def text_of(made, path="/ui/triggers/ScheduleTrigger/shop/app"):
    """The text of a page, and its HTML."""
    async with served(made) as url, aiohttp.ClientSession() as session, session.get(url + path) as response:
        assert response.status == 200
        found = await response.text()
    return " ".join(re.sub(r"<[^>]+>", " ", found).split()), found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mark": "Succeeded"}, "Succeeded: sent Notifier shop/ops chat"),
        ({"mark": "Recovered", "spec": CHAT | {"events": ["Recovered"]}}, "Recovered: sent"),
        ({}, "Succeeded: waits Notifier shop/ops chat it is not sent yet"),
        (
            {"status": not_ready("HTTP status 503", "DeliveryFailing")},
            "waits Notifier shop/ops chat DeliveryFailing: HTTP",
        ),
        ({"mark": "!Succeeded@1", "status": not_ready()}, "Succeeded: refused Notifier shop/ops chat HTTP status 401"),
        ({"phase": "Running"}, "Started: not sent Notifier shop/ops chat its events are Succeeded, Failed"),
        (
            {
                "spec": {
                    "type": "commit-status",
                    "commitStatus": {"forge": "gitlab"},
                    "secretRef": {"name": "t"},
                }
            },
            "not sent Notifier shop/ops commit-status https://github.com/acme/app is not at gitlab",
        ),
    ],
)
async def test_the_page_of_a_trigger_has_each_notifier(given, words):
    """What happened to its message about the last run, in a row."""
    text, _ = await text_of(shop(**given))
    assert words in text


async def test_a_trigger_without_notifiers_has_no_table():
    """Nor one that no Notifier selects."""
    made = shop(spec=CHAT | {"triggers": {"selector": {"matchLabels": {"a": "b"}}}})
    text, _ = await text_of(made)
    assert "Notifiers" not in text


async def test_the_overview_names_notifiers_whose_messages_are_not_accepted():
    """With what to do; none where all are."""
    text, _ = await text_of(shop(status=not_ready()), "/ui/")
    assert "Messages of Notifier shop/ops are not accepted: DeliveryRefused: HTTP status 401: renew it" in text
    text, _ = await text_of(shop(mark="Succeeded"), "/ui/")
    assert "Messages of" not in text


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("path", ["/ui/", "/ui/triggers/ScheduleTrigger/shop/app"])
async def test_text_of_a_condition_is_escaped(text, path):
    """A tenant writes the status of its Notifier."""
    _, found = await text_of(shop(status=not_ready(text)), path)
    assert "<script>" not in found
    assert "<img" not in found
