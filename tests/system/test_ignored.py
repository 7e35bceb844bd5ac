"""Commits that `spec.ignore` selects, on a real API server with a real git server."""

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

IGNORE = {"authors": ["renovate*"], "messages": ["docs:*"], "skipCi": True}
_TRIGGERS = [
    ("ScheduleTrigger", {"schedule": {"interval": "1s"}}),
    ("WebhookTrigger", {"webhook": {"multiSource": True}}),
]


@pytest.mark.parametrize(("kind", "spec"), _TRIGGERS)
def test_ignored_commits_are_recorded_and_others_run(world, installation, repository, replicas, kind, spec):
    """By author, message and `[skip ci]`, with the reason in the status; a requested run runs anyway."""
    first = repository.push({"README": "one"}, author="jane", message="Begin")
    world.ours(kind, installation, "quiet", sources() | spec | {"ignore": IGNORE})
    replica = replicas(0)
    wait_until("it is the leader", lambda: replica.leads)

    def push(**fields):
        commit = repository.push(**fields)
        if kind == "WebhookTrigger":
            assert replica.post(f"/{installation}/quiet") == 202
        return commit

    def entry():
        status = world.trigger(installation, "quiet", kind).get("status") or {}
        return (status.get("checkedSources") or {}).get("app") or {}

    with Finisher(world, installation):
        if kind == "WebhookTrigger":
            assert replica.post(f"/{installation}/quiet") == 202
        wait_until("the first commit ran", lambda: entry().get("commitHash") == first)
        for fields, reason in (
            ({"author": "renovate"}, "the author matches 'renovate*' (ignore.authors)"),
            ({"message": "docs: more"}, "the message matches 'docs:*' (ignore.messages)"),
            ({"message": "Fix [skip ci]"}, "the message has '[skip ci]' (ignore.skipCi)"),
        ):
            commit = push(**fields)
            wait_until("it is recorded", lambda commit=commit: entry().get("commitHash") == commit)
            assert entry()["ignored"]["reason"] == reason
            assert entry().get("requested", 0) == entry().get("handled", 0)
        assert len(world.jobs(installation, "quiet")) == 1
        path = f"{OURS}/namespaces/{installation}/{kind.lower()}s/quiet"
        world.patch(path, {"metadata": {"annotations": {"git-events-runner.rs/run-requested-at": "now"}}})
        wait_until("the requested run", lambda: len(world.jobs(installation, "quiet")) == 2)
        last = push(author="jane", message="Fix it")
        wait_until("the next commit runs", lambda: entry().get("commitHash") == last)
    history = world.trigger(installation, "quiet", kind)["status"]["history"]
    assert [(one.get("author"), one.get("subject")) for one in history] == [
        ("jane", "Fix it"),
        (None, None),
        ("jane", "Begin"),
    ]
