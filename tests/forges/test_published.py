"""Deliveries in the shapes that the forges publish (published/README.md) are read as what they are."""

import json
from pathlib import Path

import pytest

from git_events_runner.rules.forges import IgnoredEvent, Push, read, same_repository

FOLDER = Path(__file__).parent / "published"
EVENTS = {"github": "x-github-event", "gitea": "x-gitea-event", "gitlab": "x-gitlab-event", "bitbucket": "x-event-key"}
DELIVERIES = [
    pytest.param(path.stem, line, id=f"{path.stem}: {json.loads(line)['name']}")
    for path in sorted(FOLDER.glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
]


def reported(found):
    """What was read, as the data has it."""
    if isinstance(found, IgnoredEvent):
        return {"ignored": found.reason}
    if isinstance(found, Push):
        return {"changes": [[one.reference, one.commit, one.deleted] for one in found.changes]}
    names = ("number", "head", "commit", "target", "fork", "closed", "at")
    return {name: getattr(found, name) for name in names}


@pytest.mark.parametrize(("file", "line"), DELIVERIES)
def test_a_published_delivery_is_read_as_what_it_is(file, line):
    """References, commits, deletions, and number, head, target, state and time of a pull request."""
    one = json.loads(line)
    forge = file.partition("-")[0]
    headers = {"content-type": [b"application/json"]}
    if forge in EVENTS:
        headers[EVENTS[forge]] = [one["event"].encode()]
    found = read(forge, headers, json.dumps(one["payload"]).encode())
    assert reported(found) == one["expected"]
    if not isinstance(found, IgnoredEvent):
        assert same_repository(one["address"], found.repositories)
        assert not same_repository(one["address"].replace("app", "other"), found.repositories)
